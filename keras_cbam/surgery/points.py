"""Find the places for attention in a network from its graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from keras_cbam.surgery.blocks import open_blocks
from keras_cbam.surgery.graph import Node, read_graph
from keras_cbam.surgery.rules import RULES, block_output


class AttentionPoint(NamedTuple):
    """A place for attention: the output of one layer.

    Attributes:
        layer: name of the layer whose output is refined; inside a nested model,
            `<model>/<layer>`.
        stage: 1 for the points at the finest resolution, 2 for the next, and so on.
        block: position within the stage, from 1.
        shape: shape of the feature map in the model, `(None, height, width, channels)` for
            `channels_last`, `(None, channels, height, width)` for `channels_first`.
    """

    layer: str
    stage: int
    block: int
    shape: tuple[int | None, ...]


Choice = Sequence[str] | Callable[[AttentionPoint], bool] | str | None


def attention_points(model: keras.Model, points: Choice = None) -> tuple[AttentionPoint, ...]:
    """Return the places where the paper puts attention, in the order of computation.

    The first of these rules that finds a place decides. All rules read the graph. Only NASNet and
    EfficientNetV2 are recognized by the names of their layers.

    1. Residual networks: the end of each residual branch, before dropout, stochastic depth and the
       addition; and the linear projection that ends an inverted bottleneck without an addition.
    2. Networks of depthwise and pointwise convolutions without residuals (the paper's MobileNet):
       after each depthwise and each pointwise stage.
    3. Blocks that are one layer with its own convolutions: after each such layer.
    4. Networks that concatenate (Inception, DenseNet): the end of each block.
    5. Any other network: the end of each run of convolutions at one resolution.

    The rules also apply inside nested models and inside the blocks of KerasHub's EfficientNet and
    MobileNet. They do not apply inside a wrapper such as `TimeDistributed`: attach attention to the
    network before you wrap it. Attention that the model already has does not change the points.

    Args:
        model: a functional or a built Sequential `keras.Model`.
        points: the points to return. Names of layers, a predicate on a point and `"last_stage"`
            choose among all points, and `None` returns all of them. `"stage_ends"` returns the end
            of each stage except the last (unless there is only one), after its addition, where BAM
            goes.

    Returns:
        A tuple of `AttentionPoint`, empty if the model has no such place.

    Raises:
        TypeError: if `model` has no graph, such as a subclassed model.
        ValueError: if `points` names a layer that is no point, or if a predicate chooses no point.

    Source: section 3 and figure 3 of [CBAM](https://arxiv.org/abs/1807.06521), which places the
    module on the residual branch, and its section 4.1 on MobileNet; section 3 of
    [BAM](https://arxiv.org/abs/1807.06514), which places it at the bottlenecks between stages.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> len(attention_points(model))
        17
        >>> [point.layer for point in attention_points(model, "last_stage")][-1]
        'block_16_project_BN'
    """
    return find_points(read_graph(open_blocks(model)), points)


def find_points(graph: list[Node], points: Choice = None) -> tuple[AttentionPoint, ...]:
    """Return the chosen attention points of a graph.

    Raises:
        ValueError: if `points` names or chooses no point of the graph.
    """
    ends = _block_ends(graph)
    strides = sorted({node.stride for node in ends})
    if points == "stage_ends":
        outputs = stage_outputs(graph)
        ends = [_place(node) for node in outputs[:-1] or outputs]
    counts: dict[int, int] = {}
    found = []
    for node in ends:
        stage = strides.index(node.stride) + 1
        counts[stage] = counts.get(stage, 0) + 1
        found.append(AttentionPoint(node.address, stage, counts[stage], node.shape))
    return tuple(_choose(found, points))


def stage_outputs(graph: list[Node]) -> list[Node]:
    """Return the end of the last block at each resolution, after its addition, finest first."""
    last = {node.stride: node for node in _block_ends(graph)}
    return [block_output(last[stride]) for stride in sorted(last)]


def _block_ends(graph: list[Node]) -> list[Node]:
    """Return the ends that the first successful rule finds, in order, each operation once."""
    for rule in RULES:
        ends: dict[int, Node] = {}
        for node in sorted(map(_place, rule(graph)), key=lambda node: node.order):
            if node.inputs and len(node.shape) == 4 and node.stride < math.inf:
                ends.setdefault(id(node.operation), node)
        if ends:
            return list(ends.values())
    return []


def _place(node: Node) -> Node:
    """Return the node that attention follows for a block that ends at `node`.

    Attention follows a layer wherever the model calls it, as its weights do. If the model calls a
    layer without weights in several places, attention follows the layer before it instead.
    """
    while node.shared and not getattr(node.operation, "weights", ()) and node.inputs:
        node = node.inputs[0]
    return node


def _choose(found: list[AttentionPoint], points: Choice) -> list[AttentionPoint]:
    if points is None or points == "stage_ends" or not found:
        return found
    if points == "last_stage":
        last = max(point.stage for point in found)
        return [point for point in found if point.stage == last]
    names = [point.layer for point in found]
    if callable(points):
        chosen = [point for point in found if points(point)]
    elif isinstance(points, str) or not set(points) <= set(names):
        raise ValueError(
            "Argument `points` must be 'last_stage', 'stage_ends', a predicate, or names among the "
            f"model's attention points {names}. Received: points={points}"
        )
    else:
        chosen = [point for point in found if point.layer in set(points)]
    if not chosen:
        raise ValueError(f"Argument `points` chooses none of {names}. Received: points={points}")
    return chosen
