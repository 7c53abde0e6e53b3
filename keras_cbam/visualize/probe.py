"""A copy of a model. An inner feature map can be read, and shifted to take gradients."""

from __future__ import annotations

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
    """A copy of a model, with a tap after one layer if that is given. The model is not changed.

    Args:
        model: a functional or a built Sequential `keras.Model`, which may contain nested models.
        layer: the layer whose feature map is tapped. The model must then have one output, and the
            softmax or sigmoid that computes it is left out.

    Attributes:
        model: the copy.
        tap: the tap. Without a layer it is not part of the copy.
        places: height and width of feature maps, by address. Functions of a probe store them here.
    """

    def __init__(self, model: keras.Model, layer: keras.layers.Layer | None = None):
        # The copier calls the tap once for each use of the layer.
        self.tap = Tap(name=f"{layer.name}_tap" if layer else None)
        self.places: dict[str, tuple[int, int]] = {}
        addresses = {id(each): address for address, each in walk(model, has_graph)}
        self._address = addresses.get(id(layer))
        made = list(makers(one_output(model))) if layer else []
        last = made[0] if len(made) == 1 else None

        def call(original: Any, copied: Any, /, *args: Any, **kwargs: Any) -> Any:
            if original is last:
                if type(original).__name__ in PROBABILITY_OPERATIONS:
                    # Called so that the copy contains all layers. The result is not used.
                    copied(*args, **kwargs)
                    return args[0]
                if activation_name(original) in PROBABILITIES:
                    copied.activation = keras.activations.linear
            outputs = copied(*args, **kwargs)
            if original is not layer:
                return outputs
            if self.tap.seen is not None:
                raise self._used_often()
            return self.tap(outputs)

        copier = Copier(call)
        self.model = copier.copy(model)
        self._variables = list(copier.variables.values())

    def __call__(self, inputs: Any) -> Any:
        """Run the copy, of a tapped layer, in inference mode.

        Raises:
            ValueError: if the tap did not run exactly once, for example because a nested model is
                called twice.
        """
        self.tap.calls = 0
        (outputs,) = keras.tree.flatten(self.model(inputs, training=False))
        if self.tap.calls != 1:
            raise self._used_often()
        return outputs

    def _used_often(self) -> ValueError:
        return ValueError(
            f"Layer {self._address} is used several times, so it has no single feature map."
        )

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
