"""Assigns the weights of a state dict to layers, either all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_cbam.checkpoints.layouts import TABLES, Layout

# PyTorch's count of the batches that a normalization has seen. It is not needed here.
COUNTER = "num_batches_tracked"


def assign_weights(
    layers: Mapping[str, keras.layers.Layer], state_dict: Mapping[str, Any], receiver: str
) -> None:
    """Give layers the weights of their counterparts in PyTorch.

    Args:
        layers: built layers of the classes in `TABLES`, by the prefix of their names in the state
            dict, such as `"layer1.0.cbam."`.
        state_dict: tensors or arrays by name.
        receiver: name of the layers in the error message.

    Raises:
        ValueError: if names or shapes do not fit. The message lists all of them, and no weight is
            changed.
    """
    table: dict[str, tuple[keras.Variable, Layout]] = {}
    unmatched: list[str] = []
    for prefix, layer in layers.items():
        weights = {weight.path.removeprefix(f"{layer.path}/"): weight for weight in layer.weights}
        for name, (path, layout) in TABLES[type(layer)](layer).items():
            if path in weights:
                table[prefix + name] = (weights.pop(path), layout)
        unmatched += weights
    arrays = {
        name: as_array(value) for name, value in state_dict.items() if not name.endswith(COUNTER)
    }
    shapes = {
        name: layout.torch_shape(tuple(weight.shape)) for name, (weight, layout) in table.items()
    }
    faults = {
        "missing": [name for name in table if name not in arrays],
        "unexpected": [name for name in arrays if name not in table],
        "of another shape": [
            f"{name}, {array.shape} in place of {shapes[name]}"
            for name, array in arrays.items()
            if name in table and array.shape != shapes[name]
        ],
        "without a counterpart in the authors' code": unmatched,
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"The state dict does not fit {receiver}: {listed}")
    for name, (weight, layout) in table.items():
        weight.assign(layout.to_keras(arrays[name]))


def as_array(value: Any) -> np.ndarray:
    """Return a tensor or an array as a NumPy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()
    return np.asarray(value)
