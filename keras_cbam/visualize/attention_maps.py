"""The gates of every attention layer on images, with spatial gates scaled to the image size."""

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
from keras_cbam.visualize.probe import Probe, is_channels_first

BATCH_SIZE = 32


class AttentionMap(NamedTuple):
    """The gates of one attention layer on some images.

    Attributes:
        spatial: `(images, height, width)` float32, scaled bilinearly to the size of the images.
            `None` if the layer has no gate per position.
        channel: `(images, channels)` float32. `None` if the layer has no gate per channel. BAM has
            a gate for each position of each channel, and both attributes are means of its gates.
            Inside `TimeDistributed`, both have an axis of frames after the first.
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
        model: a functional or a built Sequential `keras.Model`, which may contain nested models.
            It is not changed.
        images: inputs of the model, at least one: `(images, height, width, 3)`, or
            `(images, 3, height, width)` if the first layer with a data format is `channels_first`.
            For clips, an axis of frames follows the first. A model of several inputs takes a
            structure of arrays, and maps have the size of the first input of the highest rank. The
            first call for a model and an image size compiles. Later calls only run, with the
            weights that the model then has.
        batch_size: number of images in a batch. Defaults to `32`.

    Returns:
        A dictionary with an `AttentionMap` for each layer, in the model's order. Keys are layer
        names. A layer inside a nested model, a wrapper or a custom block is named by the name of
        that one, a slash, and its own name.

    Raises:
        TypeError: if the model has no graph, or has a layer that cannot be copied.
        ValueError: if there are no images, or if an attention layer is used several times or not
            at all.
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
    """Return a probe of the model, and a function from inputs of these shapes to maps by layer."""
    probe = Probe(model)
    shape = shapes[largest_input(model)]
    size = shape[-2:] if is_channels_first(model) else shape[-3:-1]

    def maps(*inputs: Any) -> Any:
        found: dict[str, dict[str, Any]] = {}
        for gate in seen_gates(probe.model, packed(probe.model, inputs)):
            probe.places[gate.layer] = gate.places
            found.setdefault(gate.layer, {}).update(_maps(gate, size))
        return found

    return probe, maps


def _maps(gate: SeenGate, size: tuple[int, ...]) -> dict[str, Any]:
    """Return the maps of one gate by kind. BAM's gate gives both kinds."""
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
