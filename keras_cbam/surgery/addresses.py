"""Walk the layers of a model, its nested models and its wrappers, each layer with an address."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, TypeVar

import keras

from keras_cbam.layers.base import Refinement

T = TypeVar("T")


def has_layers(layer: Any) -> bool:
    """Return whether a layer is a model with layers, or a layer that holds a model or attention."""
    if isinstance(layer, keras.Model):
        return bool(layer.layers)
    if isinstance(layer, Refinement):
        return False
    return any(isinstance(each, keras.Model | Refinement) for each in layers_inside(layer))


def walk(
    model: keras.Model, opened: Callable[[Any], bool] = has_layers, prefix: str = ""
) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the address and the layer of every layer that is not opened.

    An opened layer is replaced by the layers inside it. The address of a layer inside a nested
    model or a wrapper is `<name of the model or wrapper>/<name of the layer>`.

    Args:
        model: the model.
        opened: a predicate that returns whether a layer is opened. By default, models with layers
            are opened, with or without a graph, and so are layers that hold a model or attention.
        prefix: text before every address.
    """
    for address, layer, is_open in _visit(model, opened, prefix):
        if not is_open:
            yield address, layer


def own_weights(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Yield the weights that `walk` passes over, each with the address of its holder.

    The holder is the model, or a layer that `walk` opens. The weights belong to the holder itself
    and to no layer inside it.
    """
    holders = [(address, layer) for address, layer, is_open in _visit(model) if is_open]
    for address, holder in [("", model), *holders]:
        inside = {id(weight) for layer in held_layers(holder) for weight in layer.weights}
        for weight in holder.weights:
            if id(weight) not in inside:
                yield address, weight


def _visit(
    model: Any, opened: Callable[[Any], bool] = has_layers, prefix: str = ""
) -> Iterator[tuple[str, Any, bool]]:
    for layer in held_layers(model):
        address = prefix + layer.name
        is_open = opened(layer)
        yield address, layer, is_open
        if is_open:
            yield from _visit(layer, opened, f"{address}/")


def within(address: str, names: Collection[str]) -> bool:
    """Return whether an address is one of the names, or lies inside a model with such a name."""
    return any(address == name or address.startswith(f"{name}/") for name in names)


def check_head(model: keras.Model, addresses: Iterable[str], head: Collection[str]) -> None:
    """Raise a `ValueError` unless `head` names layers or nested models of the model.

    Args:
        model: the model.
        addresses: the addresses of all layers of the model.
        head: names to check.
    """
    addresses = tuple(addresses)
    check_layer_names(
        model, "head", head, lambda name: any(within(each, [name]) for each in addresses)
    )


def check_layer_names(
    model: keras.Model, argument: str, names: Collection[str], known: Callable[[str], bool]
) -> None:
    """Raise a `ValueError` unless all names in the value of an argument are known layers."""
    if isinstance(names, str):
        raise ValueError(f"Argument `{argument}` must be a collection of names. Received: {names}")
    unknown = sorted({name for name in names if not known(name)})
    if unknown:
        raise ValueError(
            f"Argument `{argument}` must name layers of the model. Received: {unknown}, which are "
            f"not in model {model.name}"
        )


def held_layers(layer: Any) -> list[Any]:
    """Return the layers that a layer holds directly, each once, in the order it holds them."""
    if isinstance(layer, keras.Model):
        return layer.layers
    held = [v for v in vars(layer).values() if isinstance(v, list | keras.layers.Layer)]
    found = [x for x in keras.tree.flatten(held) if isinstance(x, keras.layers.Layer)]
    return list({id(each): each for each in found}.values())


def layers_inside(layer: keras.Operation) -> list[keras.Operation]:
    """Return the layer and all layers inside it, in the order it holds them."""
    return list(reached([layer], held_layers))


def reached(start: Iterable[T], onward: Callable[[T], Iterable[T]]) -> Iterator[T]:
    """Yield all objects that `onward` leads to from those at the start, each once, nearest first.

    Args:
        start: the objects to begin with, which are yielded too.
        onward: returns the objects that follow an object. It is asked once for each.
    """
    pending = deque(start)
    seen: set[int] = set()
    while pending:
        current = pending.popleft()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            pending += onward(current)
