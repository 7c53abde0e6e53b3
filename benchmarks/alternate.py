"""Alternating runs in one process, and what they come to as ratios."""

import time
from collections.abc import Callable, Mapping

import numpy as np

Seconds = dict[str, np.ndarray]


def alternate(steps: Mapping[str, Callable[[], object]], runs: int, warm: int = 2) -> Seconds:
    """Run each in turn, `runs` times over, after `warm` turns that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(runs + warm):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= warm:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(each) for name, each in seconds.items()}


def tax(seconds: Seconds, name: str, base: str) -> tuple[float, float]:
    """How much longer one takes than the other: by minimum, and by median."""
    of, over = seconds[name], seconds[base]
    return float(of.min() / over.min() - 1), float(np.median(of) / np.median(over) - 1)
