"""A copy of a model whose inner feature maps can be read, and moved to see what follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_cbam.outputs import activation_name, makers
from keras_cbam.surgery.addresses import walk
from keras_cbam.surgery.copying import Copier
from keras_cbam.surgery.graph import as_functional, has_graph

# What turns scores into probabilities: activations by name, and classes of operations.
PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
PROBABILITY_OPERATIONS = ("Softmax", "Sigmoid", "HardSigmoid")


class Tap(keras.layers.Layer):
    """Passes a feature map on, keeps it, and adds `added` to it if that is set.

    The sum is how the gradient of what follows is had on every backend: by `added`, at zero.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.calls = 0
        self.seen: Any = None
        self.added: Any = None

    def call(self, inputs):
        self.calls += 1
        self.seen = inputs
        if self.added is None:
            return inputs
        return inputs + keras.ops.cast(self.added, inputs.dtype)


class Probe:
    """A copy of a model with taps; the model itself stays as it was.

    Args:
        model: a functional or a built Sequential `keras.Model` of one output, nested models and
            all.
        after: whether the answer of a layer is tapped.
        scores: whether the softmax or sigmoid that makes the output is left out.

    Attributes:
        model: the copy.
        taps: each tapped layer's tap, by address.
        places: height and width of feature maps, by address, for the functions of a probe to keep.
    """

    def __init__(
        self,
        model: keras.Model,
        after: Callable[[Any], bool] = lambda layer: False,
        scores: bool = False,
    ):
        self.taps: dict[str, Tap] = {}
        self.places: dict[str, tuple[int, int]] = {}
        addresses = {id(layer): address for address, layer in walk(model, has_graph)}
        made = list(makers(one_output(model))) if scores else []
        last = made[0] if len(made) == 1 else None

        def tapped(original: Any, tensor: Any) -> Any:
            address = addresses[id(original)]
            if address in self.taps:
                raise _used_often(address)
            self.taps[address] = Tap(name=f"{original.name}_tap")
            return self.taps[address](tensor)

        def call(original: Any, copied: Any, /, *args: Any, **kwargs: Any) -> Any:
            if original is last:
                if type(original).__name__ in PROBABILITY_OPERATIONS:
                    # Called, for the copy to be one of all layers, and not read.
                    copied(*args, **kwargs)
                    return args[0]
                if activation_name(original) in PROBABILITIES:
                    copied.activation = keras.activations.linear
            outputs = copied(*args, **kwargs)
            return tapped(original, outputs) if after(original) else outputs

        copier = Copier(call)
        self.model = copier.copy(model)
        self._variables = list(copier.variables.values())

    def __call__(self, inputs: Any) -> Any:
        """Run the copy in inference mode.

        Raises:
            ValueError: if a tap was passed more than once, as in a nested model that is called
                twice.
        """
        for tap in self.taps.values():
            tap.calls = 0
        (outputs,) = keras.tree.flatten(self.model(inputs, training=False))
        for address, tap in self.taps.items():
            if tap.calls != 1:
                raise _used_often(address)
        return outputs

    def mirrors(self, model: keras.Model) -> bool:
        """Whether the model's variables are those that it had when it was copied."""
        ours = {id(original) for original, _ in self._variables}
        return ours == {id(weight) for weight in model.weights}

    def refresh(self) -> None:
        """Give the copy the weights that the model has now."""
        for original, copied in self._variables:
            # A value of its own: JAX gives buffers away when it trains.
            copied.assign(keras.ops.copy(original))

    def shapes(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """The shapes at the taps for inputs of these shapes, which the model may leave open."""
        inputs = [
            keras.KerasTensor(shape, dtype=tensor.dtype)
            for shape, tensor in zip(shapes, self.model.inputs, strict=True)
        ]
        self.model.compute_output_spec(keras.tree.pack_sequence_as(self.model.input, inputs))
        return {address: tuple(tap.seen.shape) for address, tap in self.taps.items()}


def one_output(model: keras.Model) -> Any:
    """The model's only output.

    Raises:
        ValueError: if it has several outputs.
    """
    outputs = as_functional(model).outputs
    if len(outputs) != 1:
        raise ValueError(f"Expected a model of one output. Received: {len(outputs)} outputs")
    return outputs[0]


def first_data_format(model: keras.Model) -> str:
    """The data format of the first layer that has one; Keras's own if none has."""
    found = (getattr(layer, "data_format", None) for _, layer in walk(model, has_graph))
    return next(filter(None, found), keras.config.image_data_format())


def _used_often(address: str) -> ValueError:
    return ValueError(f"Layer {address} is used several times, so that it has no one feature map.")
