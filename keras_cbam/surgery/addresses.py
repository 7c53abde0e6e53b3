"""The layers of a model by address, those of nested models too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
