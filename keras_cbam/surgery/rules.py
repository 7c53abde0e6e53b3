"""Where blocks end in a graph: the rules, each from the graph, one table where it cannot tell."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from keras_cbam.surgery.graph import Node
from keras_cbam.surgery.nodes import (
    ACTIVATIONS,
    ADDITIONS,
    NORMALIZATIONS,
    POOLINGS,
    SCORES,
    SEPARABLE,
    drops,
    follow,
    is_depthwise,
    kernel_area,
    narrows,
    refines,
    run_end,
    widens,
)

Graph = list[Node]


class Family(NamedTuple):
    """A family of networks whose graph cannot tell where its blocks end; patterns of layer names.

    Attributes:
        known_by: a layer that no other network has.
        ends: the layers that end its blocks.
    """

    known_by: str
    ends: str


FAMILIES = {
    # Adds within its cells, and hands each cell the outputs of the two before it.
    "NASNet": Family(r"normal_concat_\w+", r"(normal|reduction)_concat_\w+"),
    # Begins with blocks of a single convolution, of which only the later ones have a shortcut.
    "EfficientNetV2": Family(
        r"block1a_project_activation",
        r"block1[a-z]+_project_activation|block[2-9][a-z]+_project_bn",
    ),
}


def named_blocks(graph: Graph) -> Iterator[Node]:
    """The block ends of a family in the table."""
    names = {node: node.address.split("/")[-1] for node in graph}
    for family in FAMILIES.values():
        if any(re.fullmatch(family.known_by, name) for name in names.values()):
            yield from (node for node in graph if re.fullmatch(family.ends, names[node]))
            return


def residual_branches(graph: Graph) -> Iterator[Node]:
    """The end of each residual branch, before dropout, stochastic depth and the addition.

    In a network that has some, also the linear projection that ends a block without an addition.
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
        # Of two convolutions, one of 1x1 is the projection of a shortcut.
        depths = [sum(map(kernel_area, side)) for side in own]
    # A shortcut is the identity or one projection; a sum of two deep paths is no residual block.
    if depths[0] == depths[1] or min(depths) > 1:
        return None
    end = second if depths[0] < depths[1] else first
    while drops(end):
        end = end.inputs[0]
    return end


def _own_ancestors(first: Node, second: Node) -> tuple[set[Node], set[Node]] | None:
    """What only `first`, and what only `second`, is computed from, up to where they part.

    `None` if they have nothing in common.
    """
    sides: dict[Node, set[int]] = {first: {0}}
    sides.setdefault(second, set()).add(1)
    own: tuple[set[Node], set[Node]] = (set(), set())
    # The latest node first, so that all that reads a node has been seen before it.
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
    """Whether a side goes down to a coarser map and up again, as in U-Net and feature pyramids."""
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
    """Whether the convolution before it is depthwise, or widens as much as this one narrows."""
    node = projection
    while node.inputs:
        # Where a gate joins the main path, as in squeeze-and-excitation, the path with more places
        # is the main one.
        node = min(node.inputs, key=lambda source: source.stride)
        if node.convolutions:
            return is_depthwise(node) or (widens(node) and narrows(projection))
    return False


def separable_stages(graph: Graph) -> Iterator[Node]:
    """After each depthwise, and each pointwise stage that follows one."""
    for node in graph:
        if is_depthwise(node) and node.stride < math.inf:
            depthwise = run_end(node)
            yield depthwise
            for reader in depthwise.consumers:
                if reader.kind == "Conv2D":
                    yield run_end(reader)


def block_layers(graph: Graph) -> Iterator[Node]:
    """Blocks that are one layer: a user's residual block, whose inside cannot be seen."""
    for node in graph:
        if node.convolutions > 1 and node.kind not in SEPARABLE and node.stride < math.inf:
            yield node


def concatenations(graph: Graph) -> Iterator[Node]:
    """The concatenation that ends an Inception, fire or dense block; of a chain, the last."""
    for node in graph:
        chained = any(reader.kind == "Concatenate" for reader in node.consumers)
        if node.kind == "Concatenate" and node.stride < math.inf and not chained:
            own = _own_ancestors(*node.inputs[:2]) if len(node.inputs) > 1 else None
            if own and not _passes_coarser_maps(node, *own):
                yield node


def block_ends(graph: Graph) -> Iterator[Node]:
    """The last feature map of each run of convolutions at one size.

    Those that give scores are a head, not a block.
    """
    for node in graph:
        if node.convolutions and node.stride < math.inf and not _is_head(node):
            end = run_end(node)
            if _leaves_its_size(end):
                yield end


def _leaves_its_size(node: Node) -> bool:
    """Whether it is pooled, resized, read by a head or by nothing before another convolution."""
    seen = {node}
    pending = [node]
    while pending:
        current = pending.pop()
        if not current.consumers:
            return True
        for reader in current.consumers:
            resized = reader.stride != current.stride or reader.kind in POOLINGS
            if resized or _is_head(reader):
                return True
            if not reader.convolutions and reader not in seen:
                seen.add(reader)
                pending.append(reader)
    return False


def _is_head(node: Node) -> bool:
    """Whether a convolution gives scores, which nothing trained reads any more."""
    if node.convolutions != 1:
        return False
    run = [node]
    while run[-1] is not (end := run_end(node)):
        run.append(run[-1].consumers[0])
    return all(map(_keeps_scores, run)) and not _feeds_weights(end)


def _keeps_scores(node: Node) -> bool:
    """Whether what it computes may be scores: an activation that makes features says no."""
    own = not type(node.operation).__module__.startswith("keras.")
    features = NORMALIZATIONS | ACTIVATIONS - {"Activation"}
    return (
        not own and node.kind not in features and node.config.get("activation", "linear") in SCORES
    )


def _feeds_weights(node: Node) -> bool:
    """Whether anything trained reads the node, directly or not."""
    seen: set[Node] = set()
    pending = list(node.consumers)
    while pending:
        reader = pending.pop()
        if reader not in seen:
            if getattr(reader.operation, "weights", ()):
                return True
            seen.add(reader)
            pending += reader.consumers
    return False


def block_output(node: Node) -> Node:
    """Where the block ends that has its point at `node`: after the addition, if there is one."""
    end = node
    while len(end.consumers) == 1 and drops(end.consumers[0]):
        end = end.consumers[0]
    addition = end.consumers[0] if len(end.consumers) == 1 else None
    # Where several blocks share their addition, what follows one would follow them all.
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
