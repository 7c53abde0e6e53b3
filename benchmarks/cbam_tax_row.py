"""What a row of `cbam_tax.py` is made of, whichever framework its networks are written in."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NONE, OURS, PLAIN = "none", "cbam", "plain"
Steps = dict[str, Callable[[], object]]

# Of the largest value of a map: what two formulations of the module may differ by.
LARGEST = 1e-5
# Of the largest score: what two runtimes of one network may, through which rounding grows.
LARGEST_SCORE = 1e-4
# What images have to differ by, in what is compared.
TIMES = 100


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


def images(count: int, size: int) -> np.ndarray:
    """Colored pieces with noise, as float32."""
    rng = np.random.default_rng(0)
    pieces = rng.uniform(-1, 1, (count, 4, 4, 3)).repeat(size // 4, 1).repeat(size // 4, 2)
    return (0.8 * pieces + 0.2 * rng.uniform(-1, 1, pieces.shape)).astype("float32")


def require_spread(what: str, scores: np.ndarray, least: float) -> None:
    """Refuse scores that hardly vary between images: agreement would prove nothing."""
    spread = np.ptp(scores, axis=0).max() / np.abs(scores).max()
    if not spread >= least:
        raise SystemExit(f"{what}: outputs vary by {spread:.1e} of the largest score")


def require_agreement(what: str, values: np.ndarray, reference: np.ndarray, most: float) -> None:
    """Refuse values that differ from those that they should be, by the largest of these."""
    difference = np.abs(values - reference).max() / np.abs(reference).max()
    if not difference <= most:
        raise SystemExit(f"{what}: differs by {difference:.1e} of the largest value")


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
