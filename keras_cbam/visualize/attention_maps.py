"""The gates of every attention layer on images, spatial ones at the size of the image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cbam.compiled import in_batches
from keras_cbam.surgery.gate_switch import model_gates
from keras_cbam.surgery.gates import SeenGate, seen_gates
from keras_cbam.visualize.inputs import input_arrays, largest_input, packed
from keras_cbam.visualize.kept import kept
from keras_cbam.visualize.probe import Probe, first_data_format

BATCH_SIZE = 32


class AttentionMap(NamedTuple):
    """The gates of one attention layer on some images.

    Attributes:
        spatial: `(images, height, width)` float32, scaled to the size of the images bilinearly;
            `None` of a layer that has no gate for each place.
        channel: `(images, channels)` float32; `None` of a layer that has no gate for each channel.
            For BAM, whose gates are for each place of each channel, both are means of them. Inside
            `TimeDistributed` both have an axis of frames after the first.
        shape: height and width of the feature map.
    """

    spatial: np.ndarray | None
    channel: np.ndarray | None
    shape: tuple[int, int]


def attention_maps(
    model: keras.Model, images: Any, *, batch_size: int = BATCH_SIZE
) -> dict[str, AttentionMap]:
    """Return the gates of every attention layer of keras_cbam in a model.

    Args:
        model: a functional or a built Sequential `keras.Model`, nested models and all; it stays as
            it was.
        images: what the model takes, `(images, height, width, 3)`, `(images, 3, height, width)` if
            its first layer with a data format is `channels_first`; at least one. If it takes clips,
            an axis of frames follows the first. Of several inputs a structure of arrays; maps have
            the size of the first input of the highest rank. The first call for a model and a size
            of images compiles; later ones read the weights anew, and run.
        batch_size: images that are run at once. Defaults to `32`.

    Returns:
        An `AttentionMap` for each layer, in the model's order; by name, inside a nested model, a
        wrapper or a block of one's own by that one's name, a slash, and its own.

    Raises:
        TypeError: if the model has no graph, or a layer that cannot be copied.
        ValueError: if there are no images, or an attention layer is used several times or not at
            all.
    """
    arrays = input_arrays(model, images)
    if not len(arrays[0]):
        raise ValueError(f"Expected images. Received: images of shape {arrays[0].shape}")
    shapes = tuple(array.shape[1:] for array in arrays)
    found = kept(model, "attention_maps", shapes, partial(_probed, model, shapes))
    if not model_gates(model):
        return {}
    maps = in_batches(found.function, arrays, batch_size)
    return {
        address: AttentionMap(maps[address].get("spatial"), maps[address].get("channel"), places)
        for address, places in found.probe.places.items()
    }


def _probed(
    model: keras.Model, shapes: tuple[tuple[int, ...], ...]
) -> tuple[Probe, Callable[..., Any]]:
    """A probe of the model, and the function from inputs of these shapes to the maps by layer."""
    probe = Probe(model)
    first = first_data_format(model) == "channels_first"
    shape = shapes[largest_input(model)]
    size = shape[-2:] if first else shape[-3:-1]

    def maps(*inputs: Any) -> Any:
        found: dict[str, dict[str, Any]] = {}
        for gate in seen_gates(probe.model, packed(probe.model, inputs)):
            probe.places[gate.layer] = gate.places
            found.setdefault(gate.layer, {}).update(_maps(gate, size))
        return found

    return probe, maps


def _maps(gate: SeenGate, size: tuple[int, ...]) -> dict[str, Any]:
    """The maps that one gate makes, by kind; BAM's gate makes both."""
    values = ops.cast(gate.values, "float32")
    found = {}
    if gate.kind != "spatial":
        found["channel"] = ops.mean(values, axis=(-3, -2))
    if gate.kind != "channel":
        mean = ops.mean(values, axis=-1, keepdims=True)
        frames = ops.reshape(mean, (-1, *gate.places, 1))
        scaled = ops.image.resize(frames, size, "bilinear", data_format="channels_last")
        found["spatial"] = ops.reshape(scaled, (*values.shape[:-3], *size))
    return found
