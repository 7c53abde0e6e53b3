"""Rebuild functional models, from new layers with the same weights or from the same layers."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_cbam.surgery.addresses import layers_inside
from keras_cbam.surgery.graph import as_functional, has_graph
from keras_cbam.surgery.pyramid import FeaturePyramidModel, join

# Calls the copy of an operation where the original is called. Takes original, copy, arguments.
Call = Callable[..., Any]


class Copier:
    """Copies models and keeps shared parts shared: it copies each operation and variable once.

    Args:
        call: `call(original, copied, *args, **kwargs)` calls the copy of an operation and returns
            the outputs that the next operations read.
        fresh: whether the copies get new layers. If not, a copy is a new model over the layers of
            the original, and `original` and `copied` are the same operation.

    Attributes:
        variables: each variable of the copied layers with its copy, by the id of the variable.
    """

    def __init__(self, call: Call, fresh: bool = True):
        self.call = call
        self.fresh = fresh
        self.copies: dict[int, Any] = {}
        self.originals: dict[int, Any] = {}
        self.unfilled: set[int] = set()
        self.variables: dict[int, tuple[keras.Variable, keras.Variable]] = {}

    def copy(self, model: keras.Model) -> keras.Model:
        """Return a copy of a model's graph with the weights of the original, not compiled.

        Nested models and models inside wrappers are copied the same way. Shared layers stay shared
        across all levels of nesting. Layers keep their names and their `trainable` setting. The
        copy keeps `pyramid_outputs` if the model has any.

        Args:
            model: a functional or a built Sequential model.

        Raises:
            TypeError: if the model has no graph, or if a layer cannot be copied. The message says
                why.
        """
        source = as_functional(model)
        levels = getattr(model, "pyramid_outputs", None)
        if levels:
            source = join(source, levels)
        copied = keras.models.clone_model(
            source,
            input_tensors=_fresh_inputs(source),
            clone_function=self._clone,
            call_function=self._call,
        )
        return FeaturePyramidModel.from_joint(copied) if levels else copied

    def _clone(self, operation: Any) -> Any:
        if id(operation) not in self.copies:
            if has_graph(operation):
                copied = self.copy(operation)
            elif not self.fresh:
                copied = operation
            elif wraps_model(operation):
                copied = rewrap(operation, self._clone(operation.layer))
            else:
                copied = copy_operation(operation)
                self.unfilled.add(id(copied))
            self.copies[id(operation)] = copied
            self.originals[id(copied)] = operation
        return self.copies[id(operation)]

    def _call(self, copied: Any, /, *args: Any, **kwargs: Any) -> Any:
        original = self.originals[id(copied)]
        outputs = self.call(original, copied, *args, **kwargs)
        if id(copied) in self.unfilled and getattr(copied, "built", False):
            self.unfilled.remove(id(copied))
            self._fill(original, copied)
        return outputs

    def _fill(self, original: keras.layers.Layer, copied: keras.layers.Layer) -> None:
        """Give `copied` the weights of `original`, a layer of the same configuration."""
        shapes = [[tuple(weight.shape) for weight in layer.weights] for layer in (original, copied)]
        if shapes[0] != shapes[1]:
            raise TypeError(
                f"Layer {original.name} of class {type(original).__name__} cannot be copied: built "
                f"from its configuration it has weights {shapes[1]}, the original has {shapes[0]}"
            )
        for old, new in zip(original.weights, copied.weights, strict=True):
            if self.variables.setdefault(id(old), (old, new))[1] is not new:
                raise TypeError(
                    f"Layer {original.name} of class {type(original).__name__} cannot be copied: "
                    f"it shares {old.path} with another layer, which its configuration does not say"
                )
            # Copy the value, because JAX donates buffers in training.
            new.assign(keras.ops.copy(old))
        # Work from the outside in, since a layer passes its setting on to the layers inside.
        for outer, inner in zip(layers_inside(original), layers_inside(copied), strict=True):
            inner.trainable = outer.trainable
            if isinstance(inner, keras.layers.Normalization):
                # It computes with values derived from its weights, still those of a new layer.
                inner.finalize_state()


def _fresh_inputs(model: keras.Model) -> Any:
    """Return new inputs with the old names, since `clone_model` would name them after tensors."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]
    fresh = {
        id(layer.output): type(layer).from_config(layer.get_config()).output for layer in layers
    }
    return keras.tree.map_structure(lambda tensor: fresh[id(tensor)], model.input)


def wraps_model(operation: Any) -> bool:
    """Return whether an operation wraps a model with a graph and has no further weights."""
    return (
        isinstance(operation, keras.layers.Wrapper)
        and (has_graph(operation.layer) or wraps_model(operation.layer))
        and len(operation.weights) == len(operation.layer.weights)
        # A class with its own `from_config` may have another constructor.
        and type(operation).from_config.__func__ is keras.layers.Wrapper.from_config.__func__
    )


def rewrap(wrapper: keras.layers.Wrapper, layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a wrapper of the same class and configuration around another layer."""
    with _copying(wrapper):
        config = wrapper.get_config()
        del config["layer"]
        return type(wrapper)(layer, **config)


def copy_operation(operation: Any) -> Any:
    """Return a new, unbuilt layer or `keras.ops` operation with the same configuration.

    Raises:
        TypeError: if the class or the configuration does not allow a copy.
    """
    with _copying(operation):
        if isinstance(operation, keras.layers.Lambda):
            return _copy_lambda(operation)
        copied = type(operation).from_config(operation.get_config())
        _copy_assets(operation, copied)
        return copied


@contextmanager
def _copying(operation: Any) -> Iterator[None]:
    """Turn any exception of a foreign class into a `TypeError` that names the layer."""
    try:
        yield
    except Exception as error:
        raise TypeError(
            f"Layer {operation.name} of class {type(operation).__name__} cannot be copied: {error}"
        ) from error


def _copy_lambda(layer: keras.layers.Lambda) -> keras.layers.Lambda:
    """Return a `Lambda` with the same function, unless the function uses weights."""
    for value in _used_by(layer.function, {}):
        if isinstance(value, keras.Variable) or getattr(value, "weights", None):
            raise TypeError(
                f"its function uses {value.name}, a {type(value).__name__}, which the copy would "
                "share; make it a Layer subclass instead"
            )
    config = layer.get_config()
    # Take the function itself. Its bytecode alone would lose access to its module.
    config["function"] = keras.saving.serialize_keras_object(keras.activations.linear)
    copied = type(layer).from_config(config, safe_mode=False)
    copied.function = layer.function
    return copied


def _copy_assets(original: Any, copied: Any) -> None:
    """Copy assets saved beside the weights, such as the vocabulary of a `StringLookup`."""
    holders = [
        [layer for layer in layers_inside(operation) if hasattr(layer, "save_assets")]
        for operation in (original, copied)
    ]
    for old, new in zip(*holders, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def _used_by(value: Any, seen: dict[int, Any]) -> Iterator[Any]:
    """Yield the layers and variables that a value is, contains, or can reach as a function.

    Args:
        value: the value.
        seen: the values seen before, by id. While they are held, no other value gets their id.
    """
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, keras.layers.Layer | keras.Variable):
        yield value
    elif inspect.ismethod(value):
        yield from _used_by(value.__self__, seen)
    elif inspect.isfunction(value):
        found = inspect.getclosurevars(value)
        at_hand = [value.__defaults__, value.__kwdefaults__, found.nonlocals, found.globals]
        yield from _used_by(at_hand, seen)
    elif isinstance(value, dict):
        yield from _used_by(list(value.values()), seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _used_by(item, seen)
