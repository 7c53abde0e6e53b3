"""The rules that find the ends of blocks in a graph.

One table has the families of networks whose graph does not show where their blocks end.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterator

from keras_cbam.surgery.addresses import reached
from keras_cbam.surgery.graph import Node
from keras_cbam.surgery.nodes import (
    ACTIVATIONS,
    ADDITIONS,
    NORMALIZATIONS,
    POOLINGS,
    SCORES,
    SEPARABLE,
    drops,
    filters_per_channel,
    follow,
    is_depthwise,
    kernel_area,
    refines,
    run_end,
)

Graph = list[Node]


# Families of networks whose graph does not show where their blocks end: a pattern for the name of a
# layer that no other network has, and a pattern for the names of the layers that end the blocks.
FAMILIES = {
    # NASNet adds inside its cells, and each cell reads the outputs of the two cells before it.
    r"normal_concat_\w+": r"(normal|reduction)_concat_\w+",
    # EfficientNetV2 begins with blocks of a single convolution. Only later ones have a shortcut.
    r"block1a_project_activation": r"block1[a-z]+_project_activation|block[2-9][a-z]+_project_bn",
}


def named_blocks(graph: Graph) -> Iterator[Node]:
    """Yield the block ends of a family in the table."""
    names = {node: node.address.split("/")[-1] for node in graph}
    for known_by, ends in FAMILIES.items():
        if any(re.fullmatch(known_by, name) for name in names.values()):
            yield from (node for node in graph if re.fullmatch(ends, names[node]))
            return


def residual_branches(graph: Graph) -> Iterator[Node]:
    """Yield the end of each residual branch, before dropout, stochastic depth and the addition.

    If a network has residual branches, the rule also yields the linear projections that end a block
    without an addition.
    """
    branches = [branch for node in graph if (branch := _residual_branch(node))]
    yield from branches
    if branches:
        yield from _linear_projections(graph)


def _residual_branch(addition: Node) -> Node | None:
    if addition.kind not in ADDITIONS or len(addition.inputs) != 2 or addition.stride == math.inf:
        return None
    first, second = addition.inputs
    own = _own_ancestors(first, second)
    if own is None or _passes_coarser_maps(addition, *own):
        return None
    depths = [sum(node.convolutions for node in side) for side in own]
    if depths == [1, 1]:
        # With one convolution on each side, the 1x1 one is the projection of the shortcut.
        depths = [sum(map(kernel_area, side)) for side in own]
    # A shortcut is the identity or one projection. A sum of two deep paths is no residual block.
    if depths[0] == depths[1] or min(depths) > 1:
        return None
    end = second if depths[0] < depths[1] else first
    while drops(end):
        end = end.inputs[0]
    return end


def _own_ancestors(first: Node, second: Node) -> tuple[set[Node], set[Node]] | None:
    """Return the ancestors of `first` alone and of `second` alone, back to their common ancestor.

    Each set includes the node itself. Return `None` if the two have no common ancestor.
    """
    sides: dict[Node, set[int]] = {first: {0}}
    sides.setdefault(second, set()).add(1)
    own: tuple[set[Node], set[Node]] = (set(), set())
    # Visit the latest node first, so that all consumers of a node come before it.
    pending = [(-node.order, node) for node in sides]
    heapq.heapify(pending)
    while any(len(sides[node]) == 1 for _, node in pending):
        _, node = heapq.heappop(pending)
        marks = sides[node]
        if len(marks) == 1:
            own[min(marks)].add(node)
        for source in node.inputs:
            if source not in sides:
                heapq.heappush(pending, (-source.order, source))
            sides.setdefault(source, set()).update(marks)
    return own if any(len(marks) == 2 for marks in sides.values()) else None


def _passes_coarser_maps(merge: Node, *sides: set[Node]) -> bool:
    """Return whether a side passes through a coarser map, as in U-Net and feature pyramids."""
    strides = {node.stride for side in sides for node in side} - {math.inf}
    return max(strides, default=0) > merge.stride


def _linear_projections(graph: Graph) -> Iterator[Node]:
    for node in graph:
        if node.kind not in NORMALIZATIONS or node.inputs[0].kind != "Conv2D":
            continue
        kinds = {reader.kind for reader in node.consumers}
        activated = any(refines(reader) for reader in node.consumers)
        linear = not activated and (not kinds or kinds - ADDITIONS)
        if linear and _ends_inverted_bottleneck(node.inputs[0]):
            yield node


def _ends_inverted_bottleneck(projection: Node) -> bool:
    """Return whether the convolution before is depthwise, or widens while `projection` narrows."""
    node = projection
    while node.inputs:
        # If a gate joins the main path, as in squeeze-and-excitation, the main path is the one with
        # more places.
        node = min(node.inputs, key=lambda source: source.stride)
        if node.convolutions:
            return is_depthwise(node) or filters_per_channel(node) > 1 > filters_per_channel(
                projection
            )
    return False


def separable_stages(graph: Graph) -> Iterator[Node]:
    """Yield the end of each depthwise stage, and of each pointwise stage that follows one."""
    for node in graph:
        if is_depthwise(node) and node.stride < math.inf:
            depthwise = run_end(node)
            yield depthwise
            for reader in depthwise.consumers:
                if reader.kind == "Conv2D":
                    yield run_end(reader)


def block_layers(graph: Graph) -> Iterator[Node]:
    """Yield blocks that are one layer, such as a custom residual block with a hidden graph."""
    for node in graph:
        if node.convolutions > 1 and node.kind not in SEPARABLE and node.stride < math.inf:
            yield node


def concatenations(graph: Graph) -> Iterator[Node]:
    """Yield the concatenation that ends an Inception, fire or dense block; the last of a chain."""
    for node in graph:
        chained = any(reader.kind == "Concatenate" for reader in node.consumers)
        if node.kind == "Concatenate" and node.stride < math.inf and not chained:
            own = _own_ancestors(*node.inputs[:2]) if len(node.inputs) > 1 else None
            if own and not _passes_coarser_maps(node, *own):
                yield node


def block_ends(graph: Graph) -> Iterator[Node]:
    """Yield the last feature map of each run of convolutions at one size.

    Convolutions that compute scores are a head, not a block.
    """
    for node in graph:
        if node.convolutions and node.stride < math.inf and not _is_head(node):
            end = run_end(node)
            if _leaves_its_size(end):
                yield end


def _leaves_its_size(node: Node) -> bool:
    """Return whether a run of convolutions ends at a node.

    It does if no convolution comes before a pooling, a resizing, a head or the end of the graph.
    """

    def plain_readers(current: Node) -> list[Node]:
        return [reader for reader in current.consumers if not reader.convolutions]

    for current in reached([node], plain_readers):
        if not current.consumers:
            return True
        for reader in current.consumers:
            if reader.stride != current.stride or reader.kind in POOLINGS or _is_head(reader):
                return True
    return False


def _is_head(node: Node) -> bool:
    """Return whether a node is a convolution for scores, which no trained layer reads."""
    if node.convolutions != 1:
        return False
    run = [node]
    while run[-1] is not (end := run_end(node)):
        run.append(run[-1].consumers[0])
    return all(map(_keeps_scores, run)) and not _feeds_weights(end)


def _keeps_scores(node: Node) -> bool:
    """Return whether the output may be scores; an activation for features excludes that."""
    own = not type(node.operation).__module__.startswith("keras.")
    features = NORMALIZATIONS | ACTIVATIONS - {"Activation"}
    return (
        not own and node.kind not in features and node.config.get("activation", "linear") in SCORES
    )


def _feeds_weights(node: Node) -> bool:
    """Return whether a layer with weights reads the node, directly or indirectly."""
    readers = reached(node.consumers, lambda reader: reader.consumers)
    return any(getattr(reader.operation, "weights", ()) for reader in readers)


def block_output(node: Node) -> Node:
    """Return the end of the block whose point is `node`: after its addition, if it has one."""
    end = follow(node, drops)
    addition = end.consumers[0] if len(end.consumers) == 1 else None
    # If several blocks share their addition, a layer after one would follow all of them.
    if addition and addition.kind in ADDITIONS and not addition.shared:
        return follow(addition, lambda reader: reader.kind in ACTIVATIONS)
    return node


# The first rule that finds a place decides.
RULES: tuple[Callable[[Graph], Iterator[Node]], ...] = (
    named_blocks,
    residual_branches,
    separable_stages,
    block_layers,
    concatenations,
    block_ends,
)
