"""summarize_parameters: the number of parameters by kind of layer, and how many are trainable."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple, TypeAlias

import keras
import numpy as np

from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import own_weights, walk

Weights: TypeAlias = list[keras.Variable]

# The first matching class decides.
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
        layers: number of layers of this kind that have parameters.
        parameters: number of their parameters, statistics of normalization included.
        trainable: number of their trainable parameters.
    """

    kind: str
    layers: int
    parameters: int
    trainable: int


def summarize_parameters(model: keras.Model) -> tuple[ParameterCount, ...]:
    """Count the parameters of a model by the kind of layer that holds them.

    Args:
        model: a `keras.Model`. The count includes the layers inside nested models, wrappers and
            other layers that hold models or attention. A shared layer counts once.

    Returns:
        A `ParameterCount` for each kind in the model, and one of kind `"total"` at the end.

    Example:
        >>> model = attach_attention(keras.applications.MobileNetV2(weights=None))
        >>> freeze_backbone(model)
        >>> summarize_parameters(model)[0]
        ParameterCount(kind='attention', layers=17, parameters=31747, trainable=31713)
    """
    kinds: dict[str, list[tuple[Weights, Weights]]] = {kind: [] for kind in KINDS}
    for layer in {id(layer): layer for _, layer in walk(model) if layer.weights}.values():
        kind = next(kind for kind, classes in KINDS.items() if isinstance(layer, classes))
        kinds[kind].append((layer.weights, layer.trainable_weights))
    kinds["other"] += [(own, [w for w in own if w.trainable]) for own in _of_holders(model)]
    counts = [
        ParameterCount(
            kind,
            len(layers),
            sum(count_parameters(weights) for weights, _ in layers),
            sum(count_parameters(trainable) for _, trainable in layers),
        )
        for kind, layers in kinds.items()
        if layers
    ]
    totals = np.sum([count[1:] for count in counts], axis=0, dtype=int) if counts else (0, 0, 0)
    return (*counts, ParameterCount("total", *map(int, totals)))


def _of_holders(model: keras.Model) -> list[Weights]:
    """Return the weights that models and wrappers hold outside their layers, grouped by holder."""
    found: dict[str, Weights] = defaultdict(list)
    for address, weight in {id(weight): (a, weight) for a, weight in own_weights(model)}.values():
        found[address].append(weight)
    return list(found.values())


def count_parameters(weights: Weights) -> int:
    """Return the number of parameters in the weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)
