"""The gates of every attention layer on images, spatial ones at the size of the image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cbam.compiled import in_batches
from keras_cbam.layers import BAM, AttentionLayer, SpatialAttention
from keras_cbam.visualize.kept import kept
from keras_cbam.visualize.probe import Probe, first_data_format

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
        images: what the model takes, `(images, height, width, 3)`, `(images, 3, height, width)` if
            its first layer with a data format is `channels_first`; at least one. The first call for
            a model and a size of images compiles; later ones read the weights anew, and run.
        batch_size: images that are run at once. Defaults to `32`.

    Returns:
        An `AttentionMap` for each layer, in the model's order; by name, inside a nested model by
        that model's name, a slash, and its own.

    Raises:
        TypeError: if the model has no graph, or a layer that cannot be copied.
        ValueError: if there are no images, or an attention layer is used several times.
    """
    images = np.asarray(images)
    if not len(images):
        raise ValueError(f"Expected images. Received: images of shape {images.shape}")
    shape = images.shape[1:]
    found = kept(model, "attention_maps", shape, partial(_probed, model, shape))
    if not found.probe.taps:
        return {}
    gates = in_batches(found.function, [images], batch_size)
    shapes = found.probe.shapes((1, *shape))
    return {
        address: AttentionMap(
            each.get("spatial"),
            each.get("channel"),
            _places(layer, shapes[address]),
        )
        for (address, layer), each in zip(found.probe.layers.items(), gates, strict=True)
    }


def _probed(model: keras.Model, shape: tuple[int, ...]) -> tuple[Probe, Callable[..., Any]]:
    """A probe of the attention layers, and the function from images of a shape to their gates."""
    probe = Probe(model, before=lambda layer: isinstance(layer, AttentionLayer))
    first = first_data_format(model) == "channels_first"
    size = (shape[1], shape[2]) if first else (shape[0], shape[1])

    def gates(pixels: Any) -> Any:
        probe(pixels)
        return [
            _of_layer(layer, probe.taps[address].seen, size)
            for address, layer in probe.layers.items()
        ]

    return probe, gates


def _of_layer(layer: Any, features: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The gates of a layer for its feature map, by kind."""
    gates = layer.attention(features, training=False)
    if isinstance(gates, tuple):
        channel, spatial = gates
    elif isinstance(layer, SpatialAttention):
        channel, spatial = None, gates
    else:
        # BAM's gates are both.
        channel, spatial = gates, gates if isinstance(layer, BAM) else None
    found = {}
    if channel is not None:
        axes = (1, 2) if layer.data_format == "channels_last" else (2, 3)
        found["channel"] = ops.mean(ops.cast(channel, "float32"), axis=axes)
    if spatial is not None:
        axis = -1 if layer.data_format == "channels_last" else 1
        mean = ops.expand_dims(ops.mean(ops.cast(spatial, "float32"), axis=axis), -1)
        scaled = ops.image.resize(mean, size, "bilinear", data_format="channels_last")
        found["spatial"] = scaled[..., 0]
    return found


def _places(layer: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a layer's feature map."""
    height, width = shape[1:3] if layer.data_format == "channels_last" else shape[2:]
    return height, width
