"""detach_attention: the plain network back."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.addresses import layers_inside, walk
from keras_cbam.surgery.copying import copy_model, wraps_model
from keras_cbam.surgery.graph import as_functional, has_graph


def detach_attention(model: keras.Model, *, layers: Collection[str] = ()) -> keras.Model:
    """Return a copy of `model` without its attention layers, the weights of the rest as they are.

    The caller's model stays as it was. Nested models are looked into, and so are wrappers such as
    `TimeDistributed`. The blocks of KerasHub that `attach_attention` opened remain
    nested models, which compute the same.

    Args:
        model: a functional or a built Sequential `keras.Model`, such as `attach_attention` returns.
        layers: names of further layers to remove, such as those of a factory of one's own; of one
            inside a nested model or a wrapper, that one's name, a slash, and the layer's.

    Returns:
        A functional `keras.Model` with the inputs and outputs of `model`, not compiled.

    Raises:
        TypeError: if the model has no graph, a layer cannot be copied, or attention stands inside a
            layer whose own `call` uses it.
        ValueError: if `layers` names a layer that the model has not, or one that does not return
            what has the shape of its input.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> plain = detach_attention(attach_attention(model))
        >>> len(plain.layers) == len(model.layers)
        True
    """
    if isinstance(layers, str):
        raise ValueError(f"Argument `layers` must be a collection of names. Received: {layers}")
    as_functional(model)
    # A layer that holds attention can be removed whole.
    named = {**dict(walk(model)), **dict(walk(model, has_graph))}
    addresses = {a: x for a, x in named.items() if not isinstance(x, keras.layers.InputLayer)}
    unknown = sorted(set(layers) - set(addresses))
    if unknown:
        raise ValueError(
            f"Argument `layers` must name layers of the model. Received: {unknown}, which "
            f"model {model.name} has not"
        )
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
                "Argument `layers` must name layers that return what has the shape of their input. "
                f"Received: {original.name} of class {type(original).__name__}"
            )
        return inputs

    return copy_model(model, call)


def _wrapped(operation: Any) -> Any:
    """What stands in a wrapper, or in several; any other operation itself."""
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    return operation


def _check_open(operation: Any, removed: Collection[int]) -> None:
    """Raise a `TypeError` if what is to go stands where the graph does not show it."""
    if has_graph(operation) or wraps_model(operation):
        return
    for layer in layers_inside(operation):
        if isinstance(layer, AttentionLayer) or id(layer) in removed:
            raise TypeError(
                "Expected attention in the graph of a model. Received: layer "
                f"{operation.name} of class {type(operation).__name__}, which uses {layer.name} in "
                f"its own `call`; name {operation.name} in `layers` to remove it whole"
            )
