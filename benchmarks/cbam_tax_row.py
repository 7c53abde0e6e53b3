"""What a row of `cbam_tax.py` is made of, whichever framework its networks are written in."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NONE, OURS, PLAIN = "none", "cbam", "plain"
Steps = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Networks:
    """Networks that differ in their attention alone, and the maps that it refines."""

    models: dict[str, Any]
    maps: list[tuple[int, ...]]


@dataclass(frozen=True)
class Row:
    """One row: how its networks and the steps to time are made, and how large they are.

    `moves` are those of the floor, for each map; `needs` the modules without which there is no row.
    """

    networks: Callable[[str, int], Networks]
    steps: Callable[[dict[str, Any], Path, int], Steps]
    backend: str
    size: int
    batch: int
    moves: int
    runs: int
    needs: tuple[str, ...]


def floor(row: Row, maps: list[tuple[int, ...]]) -> float:
    """Seconds that the method must take for what it moves, by the bandwidth of a copy."""
    total = 0.0
    for shape in maps:
        source = np.random.default_rng(0).normal(size=(row.batch, *shape)).astype("float32")
        target = np.empty_like(source)
        best = min(_timed(lambda to=target, of=source: np.copyto(to, of)) for _ in range(20))
        total += best * row.moves / 2  # a copy reads once and writes once
    return total


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def onnx_step(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """An ONNX file in onnxruntime, as a function of one input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads of one network that spin would run against those of the next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]
