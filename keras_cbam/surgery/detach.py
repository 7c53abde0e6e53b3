"""detach_attention: a copy of a model without its attention."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import check_layer_names, layers_inside, walk
from keras_cbam.surgery.copying import Copier, wraps_model
from keras_cbam.surgery.graph import as_functional, has_graph


def detach_attention(model: keras.Model, *, layers: Collection[str] = ()) -> keras.Model:
    """Return a copy of `model` without its attention layers; all other weights stay the same.

    The caller's model does not change. The function also removes attention inside nested models and
    wrappers such as `TimeDistributed`. KerasHub blocks that `attach_attention` opened remain nested
    models, which compute the same.

    Args:
        model: a functional or a built Sequential `keras.Model`, such as `attach_attention` returns.
        layers: names of further layers to remove, such as the layers of your own factory. Address a
            layer inside a nested model or a wrapper as `<name of the model or wrapper>/<layer>`.

    Returns:
        A functional `keras.Model` with the inputs and outputs of `model`, not compiled.

    Raises:
        TypeError: if the model has no graph, if a layer cannot be copied, or if a layer uses
            attention inside its own `call`.
        ValueError: if `layers` names a layer that is not in the model, or a layer whose output does
            not have the shape of its input.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> plain = detach_attention(attach_attention(model))
        >>> len(plain.layers) == len(model.layers)
        True
    """
    as_functional(model)
    # A layer that holds attention can be removed as a whole.
    named = {**dict(walk(model)), **dict(walk(model, has_graph))}
    addresses = {a: x for a, x in named.items() if not isinstance(x, keras.layers.InputLayer)}
    check_layer_names(model, "layers", layers, addresses.__contains__)
    removed = {id(addresses[name]) for name in layers}

    def call(original: Any, copied: Any, /, *args: Any, **kwargs: Any) -> Any:
        inputs = next(iter((*args, *kwargs.values())), None)
        if isinstance(_wrapped(original), AttentionLayer):
            return inputs
        outputs = copied(*args, **kwargs)
        if not {id(original), id(_wrapped(original))} & removed:
            _check_open(original, removed)
            return outputs
        if getattr(outputs, "shape", None) != getattr(inputs, "shape", ()):
            raise ValueError(
                "Argument `layers` must name layers whose output has the shape of their input. "
                f"Received: {original.name} of class {type(original).__name__}"
            )
        return inputs

    return Copier(call).copy(model)


def _wrapped(operation: Any) -> Any:
    """Return the layer inside one or more nested wrappers, or the operation if it is no wrapper."""
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    return operation


def _check_open(operation: Any, removed: Collection[int]) -> None:
    """Raise a `TypeError` if a layer to remove is inside `operation`, where no graph shows it."""
    if has_graph(operation) or wraps_model(operation):
        return
    for layer in layers_inside(operation):
        if isinstance(layer, AttentionLayer) or id(layer) in removed:
            raise TypeError(
                "Expected attention in the graph of a model. Received: layer "
                f"{operation.name} of class {type(operation).__name__}, which uses {layer.name} in "
                f"its own `call`; name {operation.name} in `layers` to remove it as a whole"
            )
