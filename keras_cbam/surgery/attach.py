"""attach_attention: a new model with attention, the caller's left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.layers import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.surgery.blocks import open_blocks
from keras_cbam.surgery.copying import copy_model
from keras_cbam.surgery.graph import Node, read_graph
from keras_cbam.surgery.points import AttentionPoint, Choice, find_points

ATTENTIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "cbam": CBAM,
    "se": SqueezeExcite,
    "bam": BAM,
    "channel": ChannelAttention,
    "spatial": SpatialAttention,
}

# Where a name goes that does not go to every point.
PLACES: dict[str, Choice] = {"bam": "stage_ends"}

Factory = Callable[[AttentionPoint], keras.layers.Layer]


def attach_attention(
    model: keras.Model,
    attention: str | Factory = "cbam",
    *,
    points: Choice = None,
    identity_init: bool | None = None,
) -> keras.Model:
    """Return a copy of `model` with attention at its attention points.

    The copy has fresh layers with the weights of the originals; the caller's model, its weights and
    its compiled state stay as they were. Attention given by name starts as the identity, so the
    copy's outputs are those of the model: bit for bit when called eagerly, to rounding when
    compiled, where graph optimizers fuse differently.

    Nested models are copied too, with attention inside. Attention follows a layer wherever the
    model calls it: shared layers, and nested models called twice, share their attention.
    `pyramid_outputs` of KerasHub backbones are kept. The copy is not compiled, and methods of a
    subclass of `keras.Model` are not taken along.

    Args:
        model: a functional or a built Sequential `keras.Model`.
        attention: `"cbam"`, `"se"`, `"bam"`, `"channel"` or `"spatial"`; or a factory that receives
            an `AttentionPoint` and returns a layer. Inserted layers given by name are called
            `<layer>_<attention>`. Defaults to `"cbam"`.
        points: which of `attention_points(model)`: a sequence of layer names, a predicate on a
            point, `"last_stage"`, `"stage_ends"`, or `None` for all of them, for `"bam"` the stage
            ends.
        identity_init: whether the attention starts as the identity. `None` means `True`; it goes
            with names only, since a factory decides for itself.

    Returns:
        A functional `keras.Model` with the inputs and outputs of `model`.

    Raises:
        TypeError: if the model has no graph, a layer cannot be copied, a factory returns no layer,
            or `identity_init` is given with a factory.
        ValueError: on an unknown attention, an unknown point, no point at all, or attention that is
            there already.

    Source: [CBAM](https://arxiv.org/abs/1807.06521), figure 3.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> refined = attach_attention(model)
        >>> refined.get_layer("block_1_project_BN_cbam").name
        'block_1_project_BN_cbam'
    """
    if callable(attention) and identity_init is not None:
        raise TypeError(
            "Argument `identity_init` goes with an attention given by name; a factory decides "
            f"for itself. Received: identity_init={identity_init} with attention={attention}"
        )
    model = open_blocks(model)
    graph = read_graph(model)
    make = attention if callable(attention) else by_name(attention, graph, identity_init)
    chosen = {point.layer: point for point in find_points(graph, _places(attention, points))}
    if not chosen:
        raise ValueError(
            "The model has no attention point: no convolution that ends a block. "
            f"Received: model={model}"
        )
    inserted: dict[str, keras.layers.Layer] = {}

    def call(address: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation(*args, **kwargs)
        if address not in chosen:
            return outputs
        if address not in inserted:
            inserted[address] = _layer(make, chosen[address])
        return inserted[address](outputs)

    return copy_model(model, call)


def _places(attention: str | Factory, points: Choice) -> Choice:
    return PLACES.get(attention) if isinstance(attention, str) and points is None else points


def _layer(make: Factory, point: AttentionPoint) -> keras.layers.Layer:
    layer = make(point)
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(
            "Argument `attention` must be a factory that returns a Keras layer. "
            f"Received: {layer} for {point}"
        )
    return layer


def by_name(attention: str, graph: list[Node], identity_init: bool | None = None) -> Factory:
    """Return the factory of a named attention for the points of a graph.

    The layers take the data format and the precision of what stands before them.

    Raises:
        ValueError: on an unknown name.
    """
    if attention not in ATTENTIONS:
        raise ValueError(
            f"Argument `attention` must be one of {tuple(ATTENTIONS)} or a callable. "
            f"Received: attention={attention}"
        )
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
    """The attribute of the node's operation, or of the first before it that has one."""
    value = getattr(node.operation, attribute, None)
    return _nearest(node.inputs[0], attribute) if value is None and node.inputs else value
