"""feature_pyramid: the feature maps of a backbone by resolution, for the pyramid of a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from keras_cbam.surgery.graph import Node, as_functional, read_graph
from keras_cbam.surgery.points import stage_outputs
from keras_cbam.surgery.pyramid import FeaturePyramidModel

LEVELS = (3, 4, 5)


def feature_pyramid(model: keras.Model, levels: Sequence[int] = LEVELS) -> keras.Model:
    """Return a backbone with `pyramid_outputs`, as the detectors of KerasHub expect.

    Level n is the feature map at a resolution 2^n times coarser than the image. It is the output of
    the last block at that resolution, after its addition and after attention. The coarsest level
    also includes all that follows, up to the last feature map. Nothing is copied: the returned
    model has the layers of `model`.

    Args:
        model: a functional or a built Sequential `keras.Model`, with or without attention. A model
            with `pyramid_outputs`, such as a backbone of KerasHub, is returned unchanged.
        levels: the levels, ascending. Defaults to `(3, 4, 5)`.

    Returns:
        A functional `keras.Model` with `pyramid_outputs`. Its map `"P3"` is `(batch, height / 8,
        width / 8, channels)` for `channels_last` and `(batch, channels, height / 8, width / 8)` for
        `channels_first`, and so on.

    Raises:
        TypeError: if the model has no graph.
        ValueError: if the model lacks a feature map of one of the levels, or has it only inside a
            nested model.

    Source: section 3 of [Feature Pyramid Networks](https://arxiv.org/abs/1612.03144): "we choose
    the output of the last layer of each stage".

    Example:
        >>> backbone = keras.applications.MobileNetV2(weights=None, include_top=False)
        >>> list(feature_pyramid(attach_attention(backbone)).pyramid_outputs)
        ['P3', 'P4', 'P5']
    """
    if known := getattr(model, "pyramid_outputs", None):
        _require(model, levels, [int(name[1:]) for name in known])
        return model
    functional = as_functional(model)
    graph = read_graph(model)
    ends = {_level(node): node for node in stage_outputs(graph)}
    # The last map of the network may come after its last block: a final normalization or pooling.
    maps = [node for node in graph if len(node.shape) == 4 and node.stride < math.inf]
    last = {_level(node): node for node in maps}
    ends[max(last)] = last[max(last)]
    _require(model, levels, [int(level) for level in sorted(ends) if level % 1 == 0])
    pyramid = FeaturePyramidModel(functional.input, functional.output, name=model.name)
    pyramid.pyramid_outputs = {f"P{level}": _tensor(functional, ends[level]) for level in levels}
    return pyramid


def _require(model: keras.Model, levels: Sequence[int], found: Sequence[int]) -> None:
    if not set(levels) <= set(found):
        raise ValueError(
            f"Expected a backbone with feature maps of levels {list(levels)}, 2^level times "
            f"smaller than the image. Model {model.name} has levels {list(found)}"
        )


def _level(node: Node) -> float:
    return math.log2(node.stride)


def _tensor(model: keras.Model, node: Node) -> keras.KerasTensor:
    """Return the output of a node, after the attention that refines it."""
    if "/" in node.address or node.shared:
        raise ValueError(
            f"The feature map at {node.address} is inside a nested model, or belongs to a layer "
            "that is called twice; give the backbone itself"
        )
    return (model.get_layer(node.attention) if node.attention else node.operation).output
