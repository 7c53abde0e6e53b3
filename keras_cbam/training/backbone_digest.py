"""What tells one backbone from another: a digest of its weights and of what its layers do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# Numbers in the configuration of a layer that do not change what it computes.
IGNORED = {"seed", "momentum"}


def backbone_digest(layers: Iterable[keras.layers.Layer]) -> str:
    """Return a digest of layers, in whatever order: 64 hexadecimal digits.

    It goes by the class of each layer, by its weights, bit for bit, and by the numbers of its
    configuration, such as strides, and the scale of the pixels. Names do not count, since Keras
    numbers them anew in each process. It is the same on all backends.

    Args:
        layers: layers with their weights; those of inputs do not count.
    """
    each = [_digest(x) for x in layers if not isinstance(x, keras.layers.InputLayer)]
    return hashlib.sha256("".join(sorted(each)).encode()).hexdigest()


def _digest(layer: keras.layers.Layer) -> str:
    found = hashlib.sha256()
    numbers = list(_numbers(layer.get_config()))
    found.update(json.dumps([type(layer).__name__, numbers]).encode())
    for weight in layer.weights:
        value = keras.ops.convert_to_numpy(weight)
        found.update(f"{value.dtype} {value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def _numbers(config: Any, path: str = "") -> list[tuple[str, float]]:
    """The numbers of a configuration, with where each stands."""
    if isinstance(config, dict):
        items = [(key, config[key]) for key in sorted(config) if key not in IGNORED]
    elif isinstance(config, list | tuple):
        items = list(enumerate(config))
    elif isinstance(config, np.ndarray):
        items = list(enumerate(config.ravel().tolist()))
    elif isinstance(config, int | float | np.number) and not isinstance(config, bool):
        return [(path, float(config))]
    else:
        return []
    return [number for key, value in items for number in _numbers(value, f"{path}/{key}")]
