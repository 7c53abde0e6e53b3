"""detach_attention: the plain network back."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.copying import copy_model


def detach_attention(model: keras.Model, *, layers: Collection[str] = ()) -> keras.Model:
    """Return a copy of `model` without its attention layers, the weights of the rest as they are.

    The caller's model stays as it was. The blocks of KerasHub that `attach_attention` opened remain
    nested models, which compute the same.

    Args:
        model: a functional or a built Sequential `keras.Model`, such as `attach_attention` returns.
        layers: names of further layers to remove, such as those of a factory of one's own; of one
            inside a nested model, that model's name, a slash, and the layer's.

    Returns:
        A functional `keras.Model` with the inputs and outputs of `model`, not compiled.

    Raises:
        TypeError: if the model has no graph, or a layer cannot be copied.
        ValueError: if `layers` names a layer that the model has not, or one that does not return
            what has the shape of its input.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> plain = detach_attention(attach_attention(model))
        >>> len(plain.layers) == len(model.layers)
        True
    """
    unseen = set(layers)

    def call(address: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, AttentionLayer):
            unseen.discard(address)
            return args[0]
        outputs = operation(*args, **kwargs)
        if address not in layers:
            return outputs
        unseen.discard(address)
        if not args or getattr(outputs, "shape", None) != getattr(args[0], "shape", ()):
            raise ValueError(
                "Argument `layers` must name layers that return what has the shape of their input. "
                f"Received: {address} of class {type(operation).__name__}"
            )
        return args[0]

    copied = copy_model(model, call)
    if unseen:
        raise ValueError(
            f"Argument `layers` must name layers of the model. Received: {sorted(unseen)}, which "
            f"model {model.name} has not"
        )
    return copied
