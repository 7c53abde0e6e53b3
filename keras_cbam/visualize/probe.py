"""A copy of a model whose inner feature maps can be read, and shifted to take gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.outputs import activation_name, makers
from keras_cbam.surgery.addresses import walk
from keras_cbam.surgery.copying import Copier
from keras_cbam.surgery.graph import as_functional, has_graph

# Names of the activations and classes of the operations that turn scores into probabilities.
PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
PROBABILITY_OPERATIONS = ("Softmax", "Sigmoid", "HardSigmoid")


class Tap(keras.layers.Layer):
    """Stores a feature map, and passes it on with `added` added to it if that is set.

    The gradient by `added`, at zero, is the gradient by the feature map. This works on every
    backend.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.calls = 0
        self.seen: Any = None
        self.added: Any = None

    def call(self, inputs: Any) -> Any:
        self.calls += 1
        self.seen = inputs
        if self.added is None:
            return inputs
        return inputs + keras.ops.cast(self.added, inputs.dtype)


class Probe:
    """A copy of a model with taps. The model itself is not changed.

    Args:
        model: a functional or a built Sequential `keras.Model`, which may contain nested models. It
            must have one output if `scores` is set or the probe is called.
        after: returns whether the output of a layer is tapped.
        scores: whether to leave out the softmax or sigmoid that computes the output.

    Attributes:
        model: the copy.
        taps: the tap of each tapped layer, by address.
        places: height and width of feature maps, by address. Functions of a probe store them here.
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
                    # Called so that the copy contains all layers. The result is not used.
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
            ValueError: if a tap did not run exactly once, for example because a nested model is
                called twice.
        """
        for tap in self.taps.values():
            tap.calls = 0
        (outputs,) = keras.tree.flatten(self.model(inputs, training=False))
        for address, tap in self.taps.items():
            if tap.calls != 1:
                raise _used_often(address)
        return outputs

    def mirrors(self, model: keras.Model) -> bool:
        """Return whether the model still has the variables that it had when it was copied."""
        ours = {id(original) for original, _ in self._variables}
        return ours == {id(weight) for weight in model.weights}

    def refresh(self) -> None:
        """Give the copy the weights that the model has now."""
        for original, copied in self._variables:
            # The copy needs its own buffer, since JAX donates buffers when it trains.
            copied.assign(keras.ops.copy(original))


def one_output(model: keras.Model) -> Any:
    """Return the only output of a model.

    Raises:
        ValueError: if the model has several outputs.
    """
    outputs = as_functional(model).outputs
    if len(outputs) != 1:
        raise ValueError(f"Expected a model of one output. Received: {len(outputs)} outputs")
    return outputs[0]


def is_channels_first(model: keras.Model) -> bool:
    """Return whether the first layer with a data format, else Keras, has channels first."""
    found = (getattr(layer, "data_format", None) for _, layer in walk(model, has_graph))
    return next(filter(None, found), keras.config.image_data_format()) == "channels_first"


def _used_often(address: str) -> ValueError:
    return ValueError(f"Layer {address} is used several times, so it has no single feature map.")
