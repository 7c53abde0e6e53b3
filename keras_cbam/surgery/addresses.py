"""The layers of a model by address, those of nested models too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import keras


def has_layers(layer: Any) -> bool:
    """Whether a layer is a model of layers."""
    return isinstance(layer, keras.Model) and bool(layer.layers)


def walk(
    model: keras.Model, opened: Callable[[Any], bool] = has_layers, prefix: str = ""
) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the address and the layer of each layer that is not opened itself.

    The address of a layer inside a nested model is that model's name, a slash, and the layer's.

    Args:
        model: the model.
        opened: which layers the layers inside stand for; by default models of layers, whether or
            not these have a graph.
        prefix: of the addresses.
    """
    for layer in model.layers:
        address = prefix + layer.name
        if opened(layer):
            yield from walk(layer, opened, f"{address}/")
        else:
            yield address, layer


def within(address: str, names: Collection[str]) -> bool:
    """Whether an address is one of these names, or inside a model of that name."""
    return any(address == name or address.startswith(f"{name}/") for name in names)


def check_head(model: keras.Model, addresses: Iterable[str], head: Collection[str]) -> None:
    """Raise a `ValueError` unless `head` names layers or nested models of a model.

    Args:
        model: the model.
        addresses: the addresses of all layers of the model.
        head: the names.
    """
    if isinstance(head, str):
        raise ValueError(f"Argument `head` must be a collection of names. Received: {head}")
    addresses = tuple(addresses)
    unknown = {name for name in head if not any(within(each, [name]) for each in addresses)}
    if unknown:
        raise ValueError(
            f"Argument `head` must name layers of the model. Received: {sorted(unknown)}, which "
            f"model {model.name} has not"
        )


def layers_inside(layer: keras.Operation) -> list[keras.Operation]:
    """The layer and those it holds, in the order it holds them."""
    found: dict[int, keras.Operation] = {}
    pending = [layer]
    while pending:
        current = pending.pop(0)
        if id(current) not in found:
            found[id(current)] = current
            held = [v for v in vars(current).values() if isinstance(v, list | keras.layers.Layer)]
            pending += [x for x in keras.tree.flatten(held) if isinstance(x, keras.layers.Layer)]
    return list(found.values())
