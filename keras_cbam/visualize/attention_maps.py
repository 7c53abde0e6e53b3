"""The gates of every attention layer on images, spatial ones at the size of the image."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cbam.layers import AttentionLayer
from keras_cbam.visualize.compiled import compiled, in_batches
from keras_cbam.visualize.probe import Probe

BATCH_SIZE = 32


class AttentionMap(NamedTuple):
    """The gates of one attention layer on some images.

    Attributes:
        spatial: `(images, height, width)` float32, scaled to the size of the images bilinearly;
            `None` of a layer that has no gate for each place.
        channel: `(images, channels)` float32; `None` of a layer that has no gate for each channel.
            For BAM, whose gates are for each place of each channel, both are means of them.
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
        images: what the model takes, `(images, height, width, 3)` for `channels_last`,
            `(images, 3, height, width)` for `channels_first`; at least one.
        batch_size: images that are run at once. Defaults to `32`.

    Returns:
        An `AttentionMap` for each layer, in the model's order; by name, inside a nested model by
        that model's name, a slash, and its own.

    Raises:
        TypeError: if the model has no graph, or a layer that cannot be copied.
        ValueError: if there are no images.
    """
    images = np.asarray(images)
    if not len(images):
        raise ValueError(f"Expected images. Received: images of shape {images.shape}")
    probe = Probe(model, before=lambda layer: isinstance(layer, AttentionLayer))
    if not probe.taps:
        return {}
    first = keras.config.image_data_format() == "channels_first"
    size = images.shape[2:] if first else images.shape[1:3]

    def gates(pixels: Any) -> Any:
        probe.model(pixels, training=False)
        return [
            _of_layer(layer, probe.taps[address].seen, size)
            for address, layer in probe.layers.items()
        ]

    run = compiled(gates, probe.model.variables)
    found = in_batches(run, [images], batch_size)
    return {
        address: AttentionMap(each.get("spatial"), each.get("channel"), _places(probe, address))
        for address, each in zip(probe.layers, found, strict=True)
    }


def _of_layer(layer: Any, features: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The gates of a layer for its feature map, by kind."""
    found: dict[str, Any] = {}
    for gate in keras.tree.flatten(layer.attention(features, training=False)):
        if gate is None:
            continue
        gate = ops.cast(gate, "float32")
        if layer.data_format == "channels_first":
            gate = ops.transpose(gate, (0, 2, 3, 1))
        _, height, width, channels = gate.shape
        if channels > 1 or (height, width) == (1, 1):
            found["channel"] = ops.mean(gate, axis=(1, 2))
        if (height, width) != (1, 1):
            mean = ops.mean(gate, axis=-1, keepdims=True)
            scaled = ops.image.resize(mean, size, "bilinear", data_format="channels_last")
            found["spatial"] = scaled[..., 0]
    return found


def _places(probe: Probe, address: str) -> tuple[int, int]:
    shape = probe.taps[address].seen.shape
    last = probe.layers[address].data_format == "channels_last"
    return tuple(shape[1:3] if last else shape[2:])
