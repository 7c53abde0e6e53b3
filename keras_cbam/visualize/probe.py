"""A copy of a model whose inner feature maps can be read, and moved to see what follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.surgery.addresses import walk
from keras_cbam.surgery.copying import copy_model
from keras_cbam.surgery.graph import as_functional, has_graph

# The activations of a last layer that turn scores into probabilities.
PROBABILITIES = ("softmax", "sigmoid")


class Tap(keras.layers.Layer):
    """Passes a feature map on, keeps it, and adds `added` to it if that is set.

    The sum is how the gradient of what follows is had on every backend: by `added`, at zero.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.seen: Any = None
        self.added: Any = None

    def call(self, inputs):
        self.seen = inputs
        if self.added is None:
            return inputs
        return inputs + keras.ops.cast(self.added, inputs.dtype)


class Probe:
    """A copy of a model with taps; the model itself stays as it was.

    Args:
        model: a functional or a built Sequential `keras.Model`, nested models and all.
        after: whether the answer of a layer is tapped.
        before: whether the input of a layer is tapped.
        scores: whether the softmax or the sigmoid of the last layer is left out.

    Attributes:
        model: the copy.
        taps: each tapped layer's tap, by address.
        layers: the copies of tapped layers, by address.
    """

    def __init__(
        self,
        model: keras.Model,
        after: Callable[[keras.layers.Layer], bool] = lambda layer: False,
        before: Callable[[keras.layers.Layer], bool] = lambda layer: False,
        scores: bool = False,
    ):
        self.taps: dict[str, Tap] = {}
        self.layers: dict[str, keras.layers.Layer] = {}
        addresses = {id(layer): address for address, layer in walk(as_functional(model))}
        last = last_operation(model) if scores else None

        def tapped(original: Any, copied: Any, tensor: Any) -> Any:
            address = addresses.get(id(original), original.name)
            if address in self.taps:
                raise ValueError(
                    f"Layer {address} is used several times, so that it has no one feature map."
                )
            self.layers[address] = copied
            self.taps[address] = Tap(name=f"{original.name}_tap")
            return self.taps[address](tensor)

        def call(original: Any, copied: Any, /, *args: Any, **kwargs: Any) -> Any:
            if before(original):
                args = (tapped(original, copied, args[0]), *args[1:])
            if original is last:
                if type(original).__name__ == "Softmax":
                    # Called, for the copy to be one of all layers, and not read.
                    copied(*args, **kwargs)
                    return args[0]
                if _name(getattr(original, "activation", None)) in PROBABILITIES:
                    copied.activation = keras.activations.linear
            outputs = copied(*args, **kwargs)
            return tapped(original, copied, outputs) if after(original) else outputs

        self.model = copy_model(model, call)


def last_operation(model: keras.Model) -> Any:
    """The operation that makes the model's one output, in the innermost of nested models."""
    output = as_functional(model).output
    if not isinstance(output, keras.KerasTensor):
        raise ValueError(f"Expected a model of one output. Received: model={model}")
    operation = output._keras_history.operation
    return last_operation(operation) if has_graph(operation) else operation


def _name(activation: Any) -> str:
    return getattr(activation, "__name__", "")
