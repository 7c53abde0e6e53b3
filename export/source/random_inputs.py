"""Random inputs for a verification without data. They are drawn until the outputs vary."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_cbam.errors import InputError

# Common input ranges of networks, tried in turn.
RANGES = ((0.0, 255.0), (-1.0, 1.0), (0.0, 1.0), (-4.0, 4.0))
COUNT = 200
# Largest number of values in the array of an input. Fewer inputs are drawn if they are large.
LARGEST = 2**28
# Used for free sizes.
SIZE = 64
# Number of pieces of one color along each side of an image.
PIECES = 4


def draw_inputs(
    tensors: list[Any], spread: Callable[[list[np.ndarray]], float], enough: float
) -> list[np.ndarray]:
    """Draw inputs in the first range that makes the outputs vary enough.

    Images consist of colored pieces with noise.

    Args:
        tensors: the model's inputs.
        spread: function that returns how much the outputs vary between the given inputs.
        enough: the spread that is sufficient. If no range reaches it, the best range is used.

    Raises:
        InputError: on an input that is not numeric.
    """
    found, count = [], _count(tensors)
    for low, high in RANGES:
        rng = np.random.default_rng(0)
        inputs = [_draw(tensor, rng, low, high, count) for tensor in tensors]
        found.append((spread(inputs), inputs))
        if found[-1][0] >= enough:
            break
    return max(found, key=lambda each: each[0])[1]


def _count(tensors: list[Any]) -> int:
    values = max(math.prod(size or SIZE for size in tensor.shape[1:]) for tensor in tensors)
    return min(COUNT, max(2, LARGEST // values))


def _draw(tensor: Any, rng: np.random.Generator, low: float, high: float, count: int) -> np.ndarray:
    shape = (count, *(size or SIZE for size in tensor.shape[1:]))
    if tensor.dtype == "bool":
        return rng.integers(0, 2, shape).astype("bool")
    if "int" in tensor.dtype:
        return rng.integers(0, max(2, int(high)), shape).astype(tensor.dtype)
    if "float" not in tensor.dtype:
        raise InputError(
            f"Expected verification_data for an input that is not numeric. Received: {tensor.dtype}"
        )
    values = rng.uniform(0, 1, shape)
    if len(shape) == 4:
        height, width = shape[1:3]
        pieces = rng.uniform(0, 1, (count, PIECES, PIECES, shape[3]))
        rows, columns = np.arange(height) * PIECES // height, np.arange(width) * PIECES // width
        values = 0.8 * pieces[:, rows][:, :, columns] + 0.2 * values
    return (low + (high - low) * values).astype(tensor.dtype)
