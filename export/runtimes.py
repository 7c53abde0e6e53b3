"""The runtimes that artifacts are verified in, each run in a child process of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from .arrays import load_arrays, save_arrays
from .batches import Outputs
from .child import run_in_child

# The module of this folder that runs artifacts in it.
RUNTIMES = {
    "tensorflow": "runtime_tensorflow",
    "litert": "runtime_litert",
    "onnxruntime": "runtime_onnxruntime",
    "openvino": "runtime_openvino",
    "onnxruntime-web": "runtime_onnxruntime_web",
}
# What has to be installed for it, by pip.
RUNS_WITH = {
    "tensorflow": ("tensorflow",),
    "litert": ("ai_edge_litert",),
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
}


@cache
def is_installed(runtime: str) -> bool:
    """Whether artifacts can be run in it here."""
    if runtime in RUNS_WITH:
        return all(importlib.util.find_spec(package) for package in RUNS_WITH[runtime])
    if shutil.which("node") is None:
        return False
    found = subprocess.run(
        ["node", "-e", f"require.resolve('{runtime}')"], capture_output=True, check=False
    )
    return found.returncode == 0


def run_artifact(runtime: str, artifact: Path, inputs: Path) -> tuple[Outputs, list[str]]:
    """Run an artifact on inputs that `save_arrays` stored by name, in a child process.

    Args:
        runtime: a key of `RUNTIMES`.
        artifact: the file or directory.
        inputs: path of one array for each input.

    Returns:
        The outputs by name, and what the runtime reports about the artifact.

    Raises:
        RuntimeFailure: if the runtime refuses the artifact or dies of it.
    """
    with tempfile.TemporaryDirectory(dir=inputs.parent) as folder:
        results = Path(folder) / "outputs.npz"
        run_in_child("runtimes", RUNTIMES[runtime], artifact, inputs, results)
        outputs = load_arrays(results)
        return outputs, json.loads(str(outputs.pop("__notes__")))


def main(module: str, artifact: str, inputs: str, results: str) -> None:
    """In the child process: run the artifact and store what it answers."""
    runtime = importlib.import_module(f".{module}", __package__)
    outputs, notes = runtime.run(artifact, load_arrays(inputs))
    save_arrays(results, {"__notes__": np.array(json.dumps(notes)), **outputs})
