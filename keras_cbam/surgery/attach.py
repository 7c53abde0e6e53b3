"""attach_attention: a new model with attention, the caller's left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_cbam.layers import CBAM, ChannelAttention, SpatialAttention
from keras_cbam.surgery.graph import as_functional
from keras_cbam.surgery.points import AttentionPoint, attention_points

ATTENTIONS: dict[str, Callable[..., keras.layers.Layer]] = {
    "cbam": CBAM,
    "channel": ChannelAttention,
    "spatial": SpatialAttention,
}

Factory = Callable[[AttentionPoint], keras.layers.Layer]
Choice = Sequence[str] | Callable[[AttentionPoint], bool] | str | None


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

    Args:
        model: a functional or a built Sequential `keras.Model`.
        attention: `"cbam"`, `"channel"` or `"spatial"`; or a factory that receives an
            `AttentionPoint` and returns a layer. Inserted layers given by name are called
            `<layer>_<attention>`. Defaults to `"cbam"`.
        points: which of `attention_points(model)`: a sequence of layer names, a predicate on a
            point, `"last_stage"`, or `None` for all of them.
        identity_init: whether the attention starts as the identity. `None` means `True`; it goes
            with names only, since a factory decides for itself.

    Returns:
        A functional `keras.Model` with the inputs and outputs of `model`.

    Raises:
        TypeError: if the model has no graph, or `identity_init` is given with a factory.
        ValueError: on an unknown attention, an unknown point, or no point at all.

    Source: [CBAM](https://arxiv.org/abs/1807.06521), figure 3.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> refined = attach_attention(model)
        >>> refined.get_layer("block_1_project_BN_cbam").name
        'block_1_project_BN_cbam'
    """
    model = as_functional(model)
    make = _factory(model, attention, identity_init)
    chosen = {point.layer: point for point in _choose(attention_points(model), points)}

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        point = chosen.get(layer.name)
        return outputs if point is None else make(point)(outputs)

    attached = keras.models.clone_model(
        model, call_function=call, input_tensors=_fresh_inputs(model)
    )
    for layer in model.layers:
        copy = attached.get_layer(layer.name)
        copy.set_weights(layer.get_weights())
        for normalization in _normalizations(copy):
            # It computes with values derived from its weights, which are still those of a new one.
            normalization.finalize_state()
    return attached


def _normalizations(layer: keras.layers.Layer) -> Iterator[keras.layers.Normalization]:
    if isinstance(layer, keras.layers.Normalization):
        yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _normalizations(inner)


def _fresh_inputs(model: keras.Model) -> Any:
    """New inputs under the old names: left alone, `clone_model` names them after tensors."""
    inputs = [layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]
    names = {id(layer.output): layer.name for layer in inputs}
    return keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=tensor.shape, dtype=tensor.dtype, name=names[id(tensor)]
        ),
        model.input,
    )


def _factory(model: keras.Model, attention: str | Factory, identity_init: bool | None) -> Factory:
    if callable(attention):
        if identity_init is not None:
            raise TypeError(
                "Argument `identity_init` goes with an attention given by name; a factory decides "
                f"for itself. Received: identity_init={identity_init} with attention={attention}"
            )
        return attention
    if attention not in ATTENTIONS:
        raise ValueError(
            f"Argument `attention` must be one of {tuple(ATTENTIONS)} or a callable. "
            f"Received: attention={attention}"
        )

    operations = {operation.name: operation for operation in model.operations}

    def make(point: AttentionPoint) -> keras.layers.Layer:
        settings: dict[str, Any] = {
            "identity_init": identity_init is not False,
            "data_format": _data_format(model),
            "dtype": getattr(operations[point.layer], "dtype_policy", None),
            "name": f"{point.layer}_{attention}",
        }
        return ATTENTIONS[attention](**settings)

    return make


def _data_format(model: keras.Model) -> str | None:
    formats = (getattr(layer, "data_format", None) for layer in model.layers)
    return next((found for found in formats if found), None)


def _choose(found: tuple[AttentionPoint, ...], points: Choice) -> list[AttentionPoint]:
    if not found:
        raise ValueError("The model has no attention point: no convolution that ends a block.")
    names = [point.layer for point in found]
    if points is None:
        return list(found)
    if points == "last_stage":
        last = max(point.stage for point in found)
        return [point for point in found if point.stage == last]
    if callable(points):
        chosen = [point for point in found if points(point)]
    elif isinstance(points, str) or not set(points) <= set(names):
        raise ValueError(
            "Argument `points` must be 'last_stage', a predicate, or names among the model's "
            f"attention points {names}. Received: points={points}"
        )
    else:
        chosen = [point for point in found if point.layer in set(points)]
    if not chosen:
        raise ValueError(f"Argument `points` chooses none of {names}. Received: points={points}")
    return chosen
