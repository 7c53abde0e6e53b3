"""Child processes: nothing a runtime may abort on is loaded in the caller's process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# The module runs in a room of its own, so that its relative imports work while keras_cbam, and with
# it TensorFlow, stays out of the process: the runtime is alone there, as it will be when deployed.
_START = """
import importlib, sys, types
room = types.ModuleType("room")
room.__path__ = [sys.argv[1]]
sys.modules["room"] = room
importlib.import_module("room." + sys.argv[2]).main(*sys.argv[3:])
"""


class RuntimeFailure(RuntimeError):
    """A runtime refused a file, or died of it."""


def run_in_child(module: str, *arguments: str | Path) -> None:
    """Call `main(*arguments)` of a module of this folder in a child process.

    The module may import its siblings relatively, but nothing that imports keras_cbam.

    Raises:
        RuntimeFailure: if the child fails, with the last line it wrote.
    """
    command = [sys.executable, "-P", "-c", _START, str(Path(__file__).parent), module]
    process = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    if process.returncode != 0:
        # LiteRT's INFO comes before an abort that says nothing itself.
        told = process.stderr.splitlines()
        lines = [line for line in told if line.strip() and not line.startswith("INFO:")]
        how = f"signal {-process.returncode}" if process.returncode < 0 else "an error"
        raise RuntimeFailure(f"{module} ended with {how}: {lines[-1] if lines else ''}")
