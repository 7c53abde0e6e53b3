"""In a child process: run an artifact in its runtime."""

from __future__ import annotations

import importlib
import json

import numpy as np

from ..children.arrays import load_arrays, save_arrays


def main(module: str, artifact: str, inputs: str, results: str) -> None:
    """Run the artifact by `run` of a module of this folder, and store what it answers."""
    runtime = importlib.import_module(f".{module}", __package__)
    outputs, notes = runtime.run(artifact, load_arrays(inputs))
    other = {name: str(v.dtype) for name, v in outputs.items() if v.dtype.kind not in "biuf"}
    if other:
        raise TypeError(f"outputs that are no numbers: {other}")
    save_arrays(results, {"__notes__": np.array(json.dumps(notes)), **outputs})
