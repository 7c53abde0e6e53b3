"""Runs an artifact in its runtime, in a child process."""

from __future__ import annotations

import importlib
from typing import Any

from ..children.arrays import load_arrays

# The name of the notes among the outputs.
NOTES = "__notes__"


def main(module: str, artifact: str, inputs: str) -> dict[str, Any]:
    """Run the artifact with `run` of a module of this folder; return its outputs and notes."""
    runtime = importlib.import_module(f".{module}", __package__)
    outputs, notes = runtime.run(artifact, load_arrays(inputs))
    other = {name: str(v.dtype) for name, v in outputs.items() if v.dtype.kind not in "biuf"}
    if other:
        raise TypeError(f"outputs that are not numeric: {other}")
    return {**outputs, NOTES: notes}
