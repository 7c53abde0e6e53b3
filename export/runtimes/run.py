"""Runs an artifact in its runtime, in a child process."""

from __future__ import annotations

import importlib
import json

import numpy as np

from ..children.arrays import load_arrays, save_arrays


def main(module: str, artifact: str, inputs: str, results: str) -> None:
    """Run the artifact with `run` of a module of this folder, and store its outputs and notes."""
    runtime = importlib.import_module(f".{module}", __package__)
    outputs, notes = runtime.run(artifact, load_arrays(inputs))
    other = {name: str(v.dtype) for name, v in outputs.items() if v.dtype.kind not in "biuf"}
    if other:
        raise TypeError(f"outputs that are not numeric: {other}")
    save_arrays(results, {"__notes__": np.array(json.dumps(notes)), **outputs})
