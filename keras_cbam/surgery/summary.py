"""summarize_parameters: what a model's parameters are, and which of them train."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import walk

# The first class that fits decides.
KINDS: dict[str, tuple[type, ...]] = {
    "attention": (AttentionLayer,),
    "convolution": (
        keras.layers.Conv2D,
        keras.layers.Conv2DTranspose,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
    ),
    "normalization": (
        keras.layers.BatchNormalization,
        keras.layers.GroupNormalization,
        keras.layers.LayerNormalization,
        keras.layers.Normalization,
        keras.layers.RMSNormalization,
    ),
    "dense": (keras.layers.Dense,),
    "other": (keras.layers.Layer,),
}


class ParameterCount(NamedTuple):
    """The parameters of all layers of one kind.

    Attributes:
        kind: `"attention"`, `"convolution"`, `"normalization"`, `"dense"`, `"other"` or `"total"`.
        layers: how many layers of this kind have parameters.
        parameters: how many parameters they have, statistics of normalization included.
        trainable: how many of them train.
    """

    kind: str
    layers: int
    parameters: int
    trainable: int


def summarize_parameters(model: keras.Model) -> tuple[ParameterCount, ...]:
    """Count the parameters of a model by the kind of layer that holds them.

    Args:
        model: a `keras.Model`; nested models are looked into, a shared layer is counted once.

    Returns:
        A `ParameterCount` for each kind that the model has, and one of kind `"total"` at the end.

    Example:
        >>> model = attach_attention(keras.applications.MobileNetV2(weights=None))
        >>> freeze_backbone(model)
        >>> summarize_parameters(model)[0]
        ParameterCount(kind='attention', layers=17, parameters=31747, trainable=31713)
    """
    kinds: dict[str, list[keras.layers.Layer]] = {kind: [] for kind in KINDS}
    for layer in {id(layer): layer for _, layer in walk(model) if layer.weights}.values():
        kind = next(kind for kind, classes in KINDS.items() if isinstance(layer, classes))
        kinds[kind].append(layer)
    counts = [
        ParameterCount(
            kind,
            len(layers),
            sum(count_parameters(layer.weights) for layer in layers),
            sum(count_parameters(layer.trainable_weights) for layer in layers),
        )
        for kind, layers in kinds.items()
        if layers
    ]
    totals = np.sum([count[1:] for count in counts], axis=0, dtype=int) if counts else (0, 0, 0)
    return (*counts, ParameterCount("total", *map(int, totals)))


def count_parameters(weights: list[keras.Variable]) -> int:
    """Return how many numbers the weights hold."""
    return sum(int(np.prod(weight.shape)) for weight in weights)
