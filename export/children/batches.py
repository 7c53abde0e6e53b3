"""Runs inputs in batches. If the batch size is free, several sizes are used."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat

import numpy as np

# Batch sizes if the batch is free: these in turn, and then the last one repeatedly.
BATCH_SIZES = (1, 3, 32)

Outputs = dict[str, np.ndarray]


def in_batches(
    run: Callable[[Outputs], Outputs], inputs: Outputs, batch: int | None = None
) -> Outputs:
    """Run all inputs in batches of size `batch`, or of `BATCH_SIZES` for `None`."""
    count = len(next(iter(inputs.values())))
    sizes = chain(BATCH_SIZES, repeat(BATCH_SIZES[-1])) if batch is None else repeat(batch)
    found, done = [], 0
    while done < count:
        # The last batch of a fixed size is filled up with the first inputs.
        index = np.arange(done, done + next(sizes)) % count
        index = index[: count - done] if batch is None else index
        part = run({name: value[index] for name, value in inputs.items()})
        found.append({name: value[: count - done] for name, value in part.items()})
        done += len(index)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
