"""Read the inputs of a model batch by batch, with or without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import keras
import numpy as np

# Inputs, an array or a structure of arrays, and their labels or `None`.
Batch: TypeAlias = tuple[Any, Any]


def batches(inputs: Any, labels: Any, batch_size: int) -> Iterator[Batch]:
    """Yield batches of arrays or a dataset, each with at least one row, with labels or `None`."""
    done = 0
    for rows, known in _pairs(inputs, batch_size):
        count = _rows(rows)
        if labels is not None:
            known = np.asarray(labels)[done : done + count]
        done += count
        yield rows, None if known is None else _integers(known, count)
    if labels is not None and len(np.asarray(labels)) != done:
        raise ValueError(
            f"Expected a label for each input. Received: {len(np.asarray(labels))} labels for "
            f"{done} inputs"
        )


def rows_of(inputs: Any, batch_size: int) -> Iterator[Any]:
    """Yield batches of arrays or a dataset, each with at least one row, without labels."""
    return (rows for rows, _ in _pairs(inputs, batch_size))


def _rows(inputs: Any) -> int:
    return len(keras.tree.flatten(inputs)[0])


def _pairs(inputs: Any, batch_size: int) -> Iterator[Batch]:
    dataset = isinstance(inputs, keras.utils.PyDataset)
    pairs = _read(inputs) if dataset else _cut(inputs, batch_size)
    return (pair for pair in pairs if _rows(pair[0]))


def _read(dataset: keras.utils.PyDataset) -> Iterator[Batch]:
    """Yield the batches of a dataset."""
    for index in range(len(dataset)):
        rows, labels, _ = keras.utils.unpack_x_y_sample_weight(dataset[index])
        yield keras.tree.map_structure(np.asarray, rows), labels


def _cut(inputs: Any, batch_size: int) -> Iterator[Batch]:
    """Yield batches of arrays, without labels."""
    arrays = keras.tree.map_structure(np.asarray, inputs)
    if any(array.ndim < 1 for array in keras.tree.flatten(arrays)):
        raise ValueError(
            "Expected inputs as arrays or as a `keras.utils.PyDataset`. "
            f"Received: {type(inputs).__name__}"
        )
    for start in range(0, _rows(arrays), batch_size):
        part = slice(start, start + batch_size)
        yield keras.tree.map_structure(lambda array, at=part: array[at], arrays), None


def _integers(labels: Any, count: int) -> np.ndarray:
    """Return the labels as an array `(inputs,)`, after checking their number."""
    found = np.asarray(labels)
    if found.size != count:
        raise ValueError(
            f"Expected labels as integers, one for each input. Received: shape {found.shape} for "
            f"{count} inputs"
        )
    return found.reshape(-1)


def evenly_spaced(count: int, most: int | None) -> np.ndarray:
    """Return the indices of at most `most` of `count` inputs, evenly spaced."""
    chosen = np.linspace(0, count - 1, count if most is None else min(most, count))
    return chosen.round().astype(int)


def take(batches: Iterator[Batch], chosen: np.ndarray) -> Any:
    """Return the inputs at the chosen indices, as one structure of arrays."""
    parts, done = [], 0
    for rows, _ in batches:
        count = _rows(rows)
        at = chosen[(chosen >= done) & (chosen < done + count)] - done
        parts.append(keras.tree.map_structure(lambda array, at=at: array[at], rows))
        done += count
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)
