"""Decide which attention goes to which point."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_cbam.layers import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.surgery.graph import Node
from keras_cbam.surgery.points import AttentionPoint, Choice, find_points

ATTENTIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "cbam": CBAM,
    "se": SqueezeExcite,
    "bam": BAM,
    "channel": ChannelAttention,
    "spatial": SpatialAttention,
}

# Default points of the attentions that do not go to every point.
PLACES: dict[str, Choice] = {"bam": "stage_ends"}

# Convolutions whose maps have one or three spatial axes.
CONVOLUTION = re.compile(r"\w*Conv[13]D\w*")

Factory = Callable[[AttentionPoint], keras.layers.Layer]


class Insertion(NamedTuple):
    """A point, and the factory of the layer that refines it."""

    point: AttentionPoint
    factory: Factory

    def make(self) -> keras.layers.Layer:
        """Return a new layer for the point."""
        layer = self.factory(self.point)
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                "Argument `attention` must be a factory that returns a Keras layer. "
                f"Received: {layer} for {self.point}"
            )
        return layer


def check_attention(attention: Any, *, or_none: bool = False) -> None:
    """Check that `attention` is a known name or a factory.

    Args:
        attention: the argument to check.
        or_none: whether the caller takes `None` too, which the messages then mention.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `attention` is a layer, a class, or not callable.
    """
    must = "Argument `attention` must be " + ("None, " if or_none else "")
    if isinstance(attention, str):
        if attention not in ATTENTIONS:
            raise ValueError(
                f"{must}one of {tuple(ATTENTIONS)} or a factory. Received: attention={attention}"
            )
    elif isinstance(attention, type | keras.layers.Layer) or not callable(attention):
        raise TypeError(
            f"{must}a name or a factory that receives a point, "
            f"such as `lambda point: CBAM(8)`. Received: attention={attention}"
        )


def plan(
    graph: list[Node],
    attention: str | Factory,
    points: Choice = None,
    identity_init: bool | None = None,
) -> dict[str, Insertion]:
    """Return the insertions into a graph, by the address of the layer that each one follows.

    Raises:
        TypeError: as `attach_attention` does.
        ValueError: as `attach_attention` does.
    """
    check_attention(attention)
    factory = attention if callable(attention) else _by_name(attention, graph, identity_init)
    places = PLACES.get(attention) if isinstance(attention, str) and points is None else points
    planned = {p.layer: Insertion(p, factory) for p in find_points(graph, places)}
    if not planned:
        raise ValueError(
            "The model has no attention point: none of its blocks ends in a feature map of rank 4, "
            f"(batch, height, width, channels).{_other_ranks(graph)}"
        )
    return planned


def _other_ranks(graph: list[Node]) -> str:
    """Return a sentence about convolutions of other ranks, if there are any."""
    found = [node for node in graph if CONVOLUTION.fullmatch(node.kind)]
    return (
        f" Received: {found[0].kind} {found[0].address}, whose map is of rank "
        f"{len(found[0].shape)}; keras_cbam has no attention for that"
        if found
        else ""
    )


def _by_name(attention: str, graph: list[Node], identity_init: bool | None) -> Factory:
    """Return the factory of a named attention for the points of a graph.

    The layers take the data format and the dtype policy of the layers before them.
    """
    nodes = {node.address: node for node in graph}

    def make(point: AttentionPoint) -> keras.layers.Layer:
        settings: dict[str, Any] = {
            "identity_init": identity_init is not False,
            "data_format": _nearest(nodes[point.layer], "data_format"),
            "dtype": _nearest(nodes[point.layer], "dtype_policy"),
            "name": f"{point.layer.split('/')[-1]}_{attention}",
        }
        return ATTENTIONS[attention](**settings)

    return make


def _nearest(node: Node, attribute: str) -> Any:
    """Return an attribute of the node's operation, or of the nearest one before that has it."""
    value = getattr(node.operation, attribute, None)
    return _nearest(node.inputs[0], attribute) if value is None and node.inputs else value
