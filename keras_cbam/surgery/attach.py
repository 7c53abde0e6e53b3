"""attach_attention: a copy of a model with attention; the original model does not change."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.surgery.blocks import open_blocks
from keras_cbam.surgery.copying import Copier
from keras_cbam.surgery.graph import read_graph
from keras_cbam.surgery.plan import Factory, plan
from keras_cbam.surgery.points import Choice


def attach_attention(
    model: keras.Model,
    attention: str | Factory = "cbam",
    *,
    points: Choice = None,
    identity_init: bool | None = None,
) -> keras.Model:
    """Return a copy of `model` with attention at its attention points.

    The copy has new layers with the weights of the originals. The caller's model, its weights and
    its compiled state do not change. Attention given by name starts as the identity, so the copy
    returns the same outputs as the model: bit for bit when called eagerly, and up to rounding when
    compiled, because graph optimizers fuse the two graphs differently.

    Nested models are copied too, with attention inside. Attention follows a layer wherever the
    model calls it: shared layers, and nested models called twice, share their attention. The copy
    keeps the `pyramid_outputs` of KerasHub backbones. It is not compiled, and it loses the methods
    of a `keras.Model` subclass. A refined output takes the name of its attention layer.

    Args:
        model: a functional or a built Sequential `keras.Model`.
        attention: `"cbam"`, `"se"`, `"bam"`, `"channel"` or `"spatial"`; or a factory that receives
            an `AttentionPoint` and returns a layer. Layers of a named attention are called
            `<layer>_<attention>`. Defaults to `"cbam"`.
        points: the points of `attention_points(model)` to use: a sequence of layer names, a
            predicate on a point, `"last_stage"`, `"stage_ends"`, or `None`. `None` means all
            points, and the stage ends for `"bam"`.
        identity_init: whether the attention starts as the identity. `None` means `True`. Use it
            with a named attention only; a factory decides for itself.

    Returns:
        A functional `keras.Model` with the inputs and outputs of `model`.

    Raises:
        TypeError: if the model has no graph, a layer cannot be copied, a factory returns no layer,
            or `identity_init` is given with a factory.
        ValueError: if the attention or a point is unknown, if there is no point, or if a point
            already has attention.

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
    planned = plan(graph, attention, points, identity_init)
    for node in graph:
        if node.attention and node.address in planned:
            raise ValueError(
                f"The model has attention after {node.address} already: {node.attention}. Detach "
                "it first, or choose other `points`"
            )
    chosen = {id(n.operation): planned[n.address] for n in graph if n.address in planned}
    inserted: dict[int, keras.layers.Layer] = {}

    def call(original: Any, copied: Any, /, *args: Any, **kwargs: Any) -> Any:
        outputs = copied(*args, **kwargs)
        key = id(original)
        if key not in chosen:
            return outputs
        if key not in inserted:
            inserted[key] = chosen[key].make()
        refined = inserted[key](outputs)
        if refined.shape != outputs.shape:
            raise ValueError(
                "Argument `attention` must return layers that keep the shape of their input. "
                f"Received: {inserted[key]}, which makes {refined.shape} of {outputs.shape}"
            )
        return refined

    return Copier(call).copy(model)
