"""Quantization noise of each operation of a TFLite file. Runs in a child process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..children.arrays import load_arrays
from .graph import Graph
from .interpreter import runs

Operation = tuple[str, str]


def main(path: str, twin: str, samples_path: str) -> dict[str, Any]:
    """Return SQNR in dB, kind and name of each operation that a file shares with its twin."""
    samples = load_arrays(samples_path)
    power: dict[Operation, np.ndarray] = {}
    for ours, theirs in zip(_run(path, samples), _run(twin, samples), strict=True):
        for operation in ours.keys() & theirs.keys():
            value, true = ours[operation], theirs[operation]
            if value.shape == true.shape:
                each = np.array([np.square(true).sum(), np.square(value - true).sum()])
                power[operation] = power.get(operation, 0) + each
    errors = {
        operation: 10 * np.log10(signal / noise)
        for operation, (signal, noise) in power.items()
        if signal and noise
    }
    return {"sqnr": list(errors.values()), "operation": list(errors)}


def _run(path: str, samples: dict[str, np.ndarray]) -> Iterator[dict[Operation, np.ndarray]]:
    """Yield the outputs of all operations for each input, in real units, by kind and name."""
    graph = Graph(Path(path).read_bytes())
    for interpreter in runs(path, samples, graph.quantize):
        found: dict[Operation, np.ndarray] = {}
        kinds: dict[int, str | None] = {}
        for kind, operation in graph.operations():
            tensor = int(operation.outputs[0])
            value = graph.dequantize(interpreter.get_tensor(tensor), tensor)
            # In a lowered graph the reshape after an operation carries the operation's name.
            kinds[tensor] = kinds.get(int(operation.inputs[0])) if kind == "RESHAPE" else kind
            found[kinds[tensor] or kind, graph.name(tensor)] = value
        yield found
