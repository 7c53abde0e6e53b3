"""Turns any Keras model into a functional model in float32 whose inputs and outputs have names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, refused
from keras_cbam.text import error_reason, error_type

# Names that Keras gives to tensors that the user did not name.
_AUTOMATIC = re.compile(r"^(keras_tensor|input_layer)(_\d+)?$")

# Float types for which TFLite has few kernels or none.
OTHER_FLOATS = {"float16", "bfloat16", "float64"}


@dataclass(frozen=True)
class Prepared:
    """A model that can be exported.

    Attributes:
        model: a functional model that computes in float32.
        inputs: name of each input, in the order of `model.inputs`.
        outputs: name of each output, in the order of `keras.tree.flatten`.
        notes: the changes that were made to the model, as sentences for the report.
    """

    model: keras.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def pack(self, values: Any) -> Any:
        """Pack one value for each input into the model's input structure."""
        return keras.tree.pack_sequence_as(self.model.input, list(values))

    def answers(self, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the model's outputs by name.

        Raises:
            InputError: if an output is not finite.
        """
        found = self.model.predict(self.pack(inputs), verbose=0)
        outputs = dict(zip(self.outputs, keras.tree.flatten(found), strict=True))
        for name, value in outputs.items():
            if not np.isfinite(value.astype("float64")).all():
                raise InputError(
                    f"Expected a model with finite outputs. Received: NaN or infinity in {name}"
                )
        return outputs


def prepare(model: Any, example: list[np.ndarray] | None = None) -> Prepared:
    """Make a model ready for export. The given model is not changed.

    Args:
        model: a `keras.Model`. A model in reduced precision is rebuilt in float32 with its weights.
            A model that is not functional is wrapped in one, with the input shapes of `example`.
        example: one array for each input, with the batch axis first.

    Raises:
        InputError: if `model` is not a model, has no known input shape, or cannot be rebuilt.
    """
    if not isinstance(model, keras.Model):
        raise InputError(f"Expected a keras.Model. Received: {type(model).__name__}")
    notes = []
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    reduced = sorted({layer.compute_dtype for layer in flat_layers(model)} & OTHER_FLOATS)
    if reduced:
        model = _in_float32(model, reduced[0])
        notes.append(f"the model computes in {reduced[0]}; it is exported in float32")
    if not getattr(model, "inputs", None):
        model = _wrapped(model, example)
    return Prepared(
        model,
        _names(model.input, [tensor.name for tensor in model.inputs], "input"),
        _names(model.output, list(model.output_names), "output"),
        tuple(notes),
    )


def flat_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model, and those of the models inside it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)


def _in_float32(model: keras.Model, precision: str) -> keras.Model:
    what = (
        f"The model computes in {precision} and cannot be rebuilt in float32 from its config. One "
        "of its classes may lack get_config, or may not be registered with "
        "keras.saving.register_keras_serializable: "
    )
    with refused(
        what,
        passing=(InputError,),
        told=lambda error: f"{error_type(error)}: {error_reason(error)}",
    ):
        config = keras.saving.serialize_keras_object(model)
        # A Lambda in the model is the caller's own code. Without one, safe mode stays on.
        has_code = "__lambda__" in str(config)
        rebuilt = keras.saving.deserialize_keras_object(_float32(config), safe_mode=not has_code)
        if not rebuilt.built:
            rebuilt.build(model.input_shape)
        rebuilt.set_weights(model.get_weights())
    return rebuilt


def _float32(config: Any) -> Any:
    """Return a serialized object in which every float type and dtype policy is float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {key: _float32(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_float32(value) for value in config)
    return "float32" if isinstance(config, str) and config in OTHER_FLOATS else config


def _wrapped(model: keras.Model, example: list[np.ndarray] | None) -> keras.Model:
    """Wrap a model in a functional model whose inputs have the shapes and types of `example`."""
    if example is None:
        raise InputError(
            "Expected verification_data, because a model that is neither functional nor built does "
            f"not tell the shape of its inputs. Received: model {model.name} and None"
        )
    inputs = [keras.Input(array.shape[1:], dtype=array.dtype) for array in example]
    given = inputs[0] if len(inputs) == 1 else inputs
    shapes = [tuple(tensor.shape) for tensor in inputs]
    what = f"Model {model.name} cannot be called on inputs of shape {shapes}: "
    with refused(what, passing=(InputError,), told=error_type):
        outputs = model(given)
    return keras.Model(given, outputs, name=model.name)


def _names(structure: Any, given: list[str], default: str) -> tuple[str, ...]:
    """Return unique names of tensors. A name that has occurred before gets a number.

    Args:
        structure: the tensors. One in a dictionary is named by its keys.
        given: the names that the tensors have.
        default: the name in place of one that Keras made.
    """
    paths = [path for path, _ in keras.tree.flatten_with_path(structure)]
    many = len(paths) > 1
    found: list[str] = []
    for index, (path, name) in enumerate(zip(paths, given, strict=True)):
        if any(isinstance(key, str) for key in path):
            name = "_".join(map(str, path))
        if _AUTOMATIC.match(name):
            name = f"{default}_{index}" if many else default
        name = re.sub(r"[^\w.]", "_", name, flags=re.ASCII)
        numbered = (f"{name}_{count}" for count in range(1, len(paths) + 1))
        found.append(name if name not in found else next(n for n in numbered if n not in found))
    return tuple(found)
