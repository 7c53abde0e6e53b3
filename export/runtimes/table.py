"""The table of runtimes. Each artifact runs in a child process of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from keras_cbam.errors import InputError, refused, require

from ..children.batches import Outputs
from ..children.process import NO_LIMITS, Limits, Refused, run_in_child
from .run import NOTES


class Runtime(NamedTuple):
    """A runtime in which artifacts are verified.

    Attributes:
        module: name of the module of this folder that runs artifacts in it.
        package: the package that has to be installed.
        installer: `"pip"`, or `"npm"` for a package that node finds from the working directory.
        most: largest number of inputs, if the artifact's own runtime is another.
    """

    module: str
    package: str
    installer: str = "pip"
    most: int = 0


RUNTIMES = {
    "tensorflow": Runtime("tensorflow", "tensorflow"),
    "litert": Runtime("litert", "ai_edge_litert"),
    "onnxruntime": Runtime("onnxruntime", "onnxruntime"),
    "openvino": Runtime("openvino", "openvino", most=200),
    "onnxruntime-web": Runtime("onnxruntime_web", "onnxruntime-web", "npm", most=50),
}


def is_installed(runtime: str) -> bool:
    """Tell whether a runtime is installed on this machine."""
    package, installer = RUNTIMES[runtime][1:3]
    if installer == "pip":
        return importlib.util.find_spec(package) is not None
    return shutil.which("node") is not None and _node_finds(package, os.getcwd())


@cache
def _node_finds(package: str, directory: str) -> bool:
    command = ["node", "-e", f"require.resolve('{package}')"]
    return subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0


def require_runtime(runtime: str) -> None:
    """Raise an error that says what to install, unless the runtime is installed."""
    package, installer = RUNTIMES[runtime][1:3]
    if installer == "pip":
        require(package)
    elif shutil.which("node") is None:
        raise InputError(f"{runtime} runs in node, and there is no node on the path.")
    elif not is_installed(runtime):
        raise InputError(
            f"node does not find {package} here: run `npm install {package}` in this directory."
        )


def run_artifact(
    runtime: str, artifact: Path, inputs: Path, limits: Limits = NO_LIMITS
) -> tuple[Outputs, list[str]]:
    """Run an artifact in a child process, on inputs that `save_arrays` stored by name.

    Args:
        runtime: a key of `RUNTIMES`.
        artifact: the file or directory.
        inputs: path of the stored inputs, with one array for each input.
        limits: limits of the child process.

    Returns:
        The outputs by name, and the notes of the runtime about the artifact.

    Raises:
        InputError: if the artifact is not run because of its content.
        RuntimeFailure: if the runtime refuses the artifact, crashes on it or reaches a limit.
    """
    arguments = (RUNTIMES[runtime].module, artifact, inputs)
    with refused("", only=(Refused,), told=str):
        outputs = run_in_child("runtimes.run", *arguments, limits=limits, folder=inputs.parent)
    notes = outputs.pop(NOTES).tolist()
    return outputs, notes
