"""Where attention belongs in a network, found from its graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras

from keras_cbam.surgery.graph import Node, as_functional, read_graph

Graph = dict[str, Node]

ADDITIONS = {"Add"}
CONVOLUTIONS = {"Conv2D", "SeparableConv2D", "DepthwiseConv2D"}
DEPTHWISE = {"DepthwiseConv2D"}
NORMALIZATIONS = {
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
}
ACTIVATIONS = {"Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Relu", "Relu6", "Silu", "Gelu"}
DROPS = {"AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout2D", "StochasticDepth"}
POOLINGS = {"AveragePooling2D", "MaxPooling2D"}


class AttentionPoint(NamedTuple):
    """A place for attention: the output of one layer.

    Attributes:
        layer: name of the layer whose output is refined.
        stage: 1 for the points at the finest resolution, 2 at the next, and so on.
        block: position within the stage, from 1.
        shape: shape of the feature map as the model gives it, `(None, height, width, channels)` for
            `channels_last`, `(None, channels, height, width)` for `channels_first`.
    """

    layer: str
    stage: int
    block: int
    shape: tuple[int | None, ...]


def attention_points(model: keras.Model) -> tuple[AttentionPoint, ...]:
    """Return the places where the paper puts attention, in the order they are computed.

    The first rule that finds a place decides, all from the graph, none by the network's name:

    1. Residual networks: the end of each residual branch, before dropout, stochastic depth and the
       addition; and the linear projection that ends an inverted bottleneck without an addition.
    2. Networks of depthwise and pointwise convolutions without residuals (the paper's MobileNet):
       after each depthwise and each pointwise stage.
    3. Any other network: the end of each block, before it is pooled.

    Args:
        model: a functional or a built Sequential `keras.Model`.

    Returns:
        A tuple of `AttentionPoint`, empty if the model has no such place.

    Raises:
        TypeError: if `model` has no graph to read, as a subclassed model has not.

    Source: section 3 and figure 3 of [CBAM](https://arxiv.org/abs/1807.06521), which places the
    module on the residual branch, and its section 4.1 on MobileNet.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> len(attention_points(model))
        17
    """
    model = as_functional(model)
    graph = read_graph(model)
    for rule in RULES:
        found = set(rule(graph))
        names = [name for name in graph if name in found and graph[name].calls == 1]
        if names:
            break
    else:
        names = []
    strides = sorted({graph[name].stride for name in names})
    counts: dict[int, int] = {}
    outputs = {operation.name: operation.output for operation in model.operations}
    points = []
    for name in names:
        stage = strides.index(graph[name].stride) + 1
        counts[stage] = counts.get(stage, 0) + 1
        shape = tuple(outputs[name].shape)
        points.append(AttentionPoint(name, stage, counts[stage], shape))
    return tuple(points)


def _residual_branches(graph: Graph) -> Iterator[str]:
    branches = [branch for node in graph.values() if (branch := _residual_branch(graph, node))]
    yield from branches
    if branches:
        yield from _linear_bottlenecks(graph)


def _residual_branch(graph: Graph, node: Node) -> str | None:
    if node.kind not in ADDITIONS or len(node.inputs) != 2 or node.stride == math.inf:
        return None
    first, second = (_ancestors(graph, name) for name in node.inputs)
    depths = [
        sum(graph[name].kind in CONVOLUTIONS for name in own)
        for own in (first - second, second - first)
    ]
    if depths[0] == depths[1]:
        return None
    end = node.inputs[depths.index(max(depths))]
    while graph[end].kind in DROPS:
        end = graph[end].inputs[0]
    return end


def _linear_bottlenecks(graph: Graph) -> Iterator[str]:
    for node in graph.values():
        if node.kind not in NORMALIZATIONS or graph[node.inputs[0]].kind not in CONVOLUTIONS:
            continue
        kinds = {graph[name].kind for name in node.consumers}
        linear = not kinds & ACTIVATIONS and (not kinds or kinds - ADDITIONS)
        if linear and _follows_depthwise(graph, graph[node.inputs[0]]):
            yield node.name


def _follows_depthwise(graph: Graph, projection: Node) -> bool:
    """Whether a depthwise convolution comes before the next convolution on the main path."""
    node = projection
    while node.inputs:
        # Where a gate joins the main path, as in squeeze-and-excitation, the path with more places
        # is the main one.
        node = min((graph[name] for name in node.inputs), key=lambda n: n.stride)
        if node.kind in CONVOLUTIONS:
            return node.kind in DEPTHWISE
    return False


def _separable_stages(graph: Graph) -> Iterator[str]:
    for node in graph.values():
        if node.kind in DEPTHWISE and node.stride < math.inf:
            depthwise = _stage_end(graph, node)
            yield depthwise.name
            for name in depthwise.consumers:
                if graph[name].kind == "Conv2D":
                    yield _stage_end(graph, graph[name]).name


def _stage_end(graph: Graph, node: Node) -> Node:
    while len(node.consumers) == 1:
        follower = graph[node.consumers[0]]
        if follower.kind not in NORMALIZATIONS | ACTIVATIONS:
            break
        node = follower
    return node


def _block_ends(graph: Graph) -> Iterator[str]:
    """The last feature map of each run of convolutions: what is pooled, flattened or returned."""
    for node in graph.values():
        if node.kind in CONVOLUTIONS and node.stride < math.inf:
            end = _stage_end(graph, node)
            kinds = {graph[name].kind for name in end.consumers}
            leaves = any(graph[name].stride == math.inf for name in end.consumers)
            if not kinds or kinds & POOLINGS or leaves:
                yield end.name


RULES: tuple[Callable[[Graph], Iterator[str]], ...] = (
    _residual_branches,
    _separable_stages,
    _block_ends,
)


def _ancestors(graph: Graph, name: str) -> set[str]:
    found: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending.extend(graph[current].inputs)
    return found
