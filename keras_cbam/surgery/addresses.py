"""The layers of a model by address, those of nested models too."""

from __future__ import annotations

from collections.abc import Iterator

import keras


def walk(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the address and the layer of each layer that is no model of layers itself.

    The address of a layer inside a nested model is that model's name, a slash, and the layer's.
    """
    for layer in model.layers:
        address = prefix + layer.name
        if isinstance(layer, keras.Model) and layer.layers:
            yield from walk(layer, f"{address}/")
        else:
            yield address, layer
