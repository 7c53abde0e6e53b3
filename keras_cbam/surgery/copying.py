"""Copies of functional models: fresh layers with the weights of the originals, nothing shared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_cbam.surgery.graph import as_functional, has_graph
from keras_cbam.surgery.pyramid import FeaturePyramidModel, join

# Calls the copy of an operation where the original is called: address, copy, arguments.
Call = Callable[..., Any]


def call_copy(address: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the copy as the original was called."""
    return operation(*args, **kwargs)


def copy_model(model: keras.Model, call: Call = call_copy, *, prefix: str = "") -> keras.Model:
    """Return a copy of a model's graph with the weights of the original, not compiled.

    Nested models are copied the same way, shared layers stay shared, layers keep their names and
    whether they are trainable; `pyramid_outputs` are kept where there are any.

    Args:
        model: a functional or a built Sequential model.
        call: `call(address, operation, *args, **kwargs)` calls the copy of the operation at
            `address` and returns what its readers are to read.
        prefix: what stands before the names of the model's layers in their addresses.

    Raises:
        TypeError: if the model has no graph, or if a layer cannot be copied; it says why.
    """
    source = as_functional(model)
    levels = getattr(model, "pyramid_outputs", None)
    if levels:
        source = join(source, levels)
    originals: dict[int, Any] = {}
    unfilled: dict[int, Any] = {}

    def clone(operation: Any) -> Any:
        if has_graph(operation):
            copied = copy_model(operation, call, prefix=f"{prefix}{operation.name}/")
        else:
            copied = copy_operation(operation)
            unfilled[id(copied)] = copied
        originals[id(copied)] = operation
        return copied

    def call_and_fill(copied: Any, *args: Any, **kwargs: Any) -> Any:
        original = originals[id(copied)]
        outputs = call(prefix + original.name, copied, *args, **kwargs)
        if unfilled.pop(id(copied), None) is not None and getattr(copied, "built", False):
            copy_weights(original, copied)
        return outputs

    copied = keras.models.clone_model(
        source,
        input_tensors=_fresh_inputs(source),
        clone_function=clone,
        call_function=call_and_fill,
    )
    return FeaturePyramidModel.from_joint(copied) if levels else copied


def _fresh_inputs(model: keras.Model) -> Any:
    """New inputs under the old names: left alone, `clone_model` names them after tensors."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]
    fresh = {
        id(layer.output): type(layer).from_config(layer.get_config()).output for layer in layers
    }
    return keras.tree.map_structure(lambda tensor: fresh[id(tensor)], model.input)


def copy_operation(operation: Any) -> Any:
    """Return a new layer, or `keras.ops` operation, of the same configuration, not built.

    Raises:
        TypeError: if its class or its configuration does not allow that.
    """
    try:
        if isinstance(operation, keras.layers.Lambda):
            return _copy_lambda(operation)
        return type(operation).from_config(operation.get_config())
    except Exception as error:
        raise TypeError(
            f"Layer {operation.name} of class {type(operation).__name__} cannot be copied: {error}"
        ) from error


def _copy_lambda(layer: keras.layers.Lambda) -> keras.layers.Lambda:
    """A `Lambda` over the same function, which is code, not weights."""
    for name, value in _closure(layer.function):
        if isinstance(value, keras.layers.Layer | keras.Variable):
            raise TypeError(
                f"its function uses {name}, a {type(value).__name__}, which the copy would share; "
                "make it a Layer subclass instead"
            )
    config = layer.get_config()
    # The function itself is taken, not its bytecode, which would lose sight of its module.
    config["function"] = keras.saving.serialize_keras_object(keras.activations.linear)
    copied = type(layer).from_config(config, safe_mode=False)
    copied.function = layer.function
    return copied


def _closure(function: Any) -> Iterator[tuple[str, Any]]:
    if inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        yield from found.nonlocals.items()
        yield from found.globals.items()


def copy_weights(original: keras.layers.Layer, copied: keras.layers.Layer) -> None:
    """Give `copied` the weights of `original`, a layer of the same configuration.

    Raises:
        TypeError: if the two have not the same weights.
    """
    shapes = [[tuple(weight.shape) for weight in layer.weights] for layer in (original, copied)]
    if shapes[0] != shapes[1]:
        raise TypeError(
            f"Layer {original.name} of class {type(original).__name__} cannot be copied: built "
            f"from its configuration it has weights {shapes[1]}, the original has {shapes[0]}"
        )
    for old, new in zip(original.weights, copied.weights, strict=True):
        # A copy in memory: JAX gives buffers away when it trains.
        new.assign(keras.ops.copy(old))
    for normalization in _normalizations(copied):
        # It computes with values derived from its weights, which are still those of a new one.
        normalization.finalize_state()


def _normalizations(layer: keras.layers.Layer) -> Iterator[keras.layers.Normalization]:
    if isinstance(layer, keras.layers.Normalization):
        yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _normalizations(inner)
