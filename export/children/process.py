"""Child processes for the runtimes, so that an abort does not end the caller's process."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from .arrays import load_arrays, save_arrays

# The module is imported from a package called `room`. So its relative imports work, but keras_cbam
# and TensorFlow are not imported: the runtime is alone in the process, as it will be when deployed.
_START = """
import importlib, sys, types
room = types.ModuleType("room")
room.__path__ = [sys.argv[1]]
sys.modules["room"] = room
importlib.import_module("room.children.process").start(*sys.argv[2:])
"""
# TensorFlow does not log in a child, and does not import Keras, a third of its own import.
_SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
# The folder export/, and the name of its package in a child.
_EXPORT = Path(__file__).parents[1]
_ROOM = __package__.rpartition(".")[0]
# The exit code of a child that refuses its file.
REFUSED = 3
# Words in the message of a child that ran out of memory.
_NO_MEMORY = ("memory", "alloc")
# Only this many bytes are read from the end of a child's messages.
_TOLD = 64 * 2**10


class Limits(NamedTuple):
    """Limits of a process that runs an artifact. The process is ended when it reaches a limit.

    Attributes:
        seconds: wall-clock time; `None` for no limit.
        gibibytes: memory that the process writes to, on Linux; `None` for no limit.
    """

    seconds: float | None = 600
    gibibytes: float | None = 8


NO_LIMITS = Limits(None, None)


class RuntimeFailure(RuntimeError):
    """A runtime refused a file, or crashed on it."""


class Refused(RuntimeFailure):
    """A file was not run at all, because of its content."""


def run_in_child(
    module: str,
    *arguments: str | Path | dict[str, np.ndarray],
    limits: Limits = NO_LIMITS,
    folder: Path | None = None,
) -> dict[str, np.ndarray]:
    """Call `main(*arguments)` of a module of `export` in a child process, and return its arrays.

    The module may import its siblings relatively, but nothing that imports keras_cbam. At a limit,
    the child and the processes that it started are ended.

    Args:
        module: name of the module.
        arguments: texts and paths. Arrays by name are stored for `load_arrays`, and `main` gets the
            path.
        limits: limits of the child process.
        folder: where temporary files are made, those of the child too.

    Raises:
        Refused: if the module raises it.
        RuntimeFailure: if the child takes too long, or fails in another way. The message is then
            the last line that the child wrote.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch, tempfile.TemporaryFile() as told:
        results = Path(scratch) / "results.npz"
        given = []
        for index, argument in enumerate(arguments):
            if isinstance(argument, dict):
                save_arrays(Path(scratch) / f"argument{index}.npz", argument)
                argument = Path(scratch) / f"argument{index}.npz"
            given.append(str(argument))
        command = [sys.executable, "-P", "-c", _START, str(_EXPORT), module]
        process = subprocess.Popen(
            [*command, str(limits.gibibytes or 0), str(results), *given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env={**os.environ, **_SETTINGS, "TMPDIR": scratch},
            # At a limit its whole session is ended. Without a limit, Ctrl-C ends both processes.
            start_new_session=limits.seconds is not None,
        )
        try:
            code = process.wait(limits.seconds)
        except subprocess.TimeoutExpired as error:
            raise RuntimeFailure(
                f"{module} took more than the {limits.seconds:g} s that are allowed"
            ) from error
        finally:
            _end(process, whole=limits.seconds is not None)
        line = _last_line(told)
        if code == REFUSED:
            raise Refused(line)
        if code != 0:
            how = f"signal {-code}" if code < 0 else "an error"
            bounded = limits.gibibytes and any(sign in line.lower() for sign in _NO_MEMORY)
            hint = f" (it may use {limits.gibibytes:g} GiB)" if bounded else ""
            raise RuntimeFailure(f"{module} ended with {how}: {line}{hint}")
        return load_arrays(results)


def _end(process: subprocess.Popen[bytes], whole: bool) -> None:
    """End a child, and with `whole` also the processes that it started."""
    if whole and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _last_line(told: IO[bytes]) -> str:
    told.seek(max(0, told.seek(0, os.SEEK_END) - _TOLD))
    written = told.read().decode(errors="replace").splitlines()
    # LiteRT writes INFO lines before an abort that has no message.
    lines = [line for line in written if line.strip() and not line.startswith("INFO:")]
    return lines[-1] if lines else ""


def start(module: str, gibibytes: str, results: str, *arguments: str) -> None:
    """Limit the memory of this child process, call `main` of a module and store its arrays."""
    if float(gibibytes):
        with contextlib.suppress(ImportError):  # on Windows
            import resource

            # Memory that is reserved but never written to does not count; node reserves much.
            most = int(float(gibibytes) * 2**30)
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        save_arrays(results, importlib.import_module(f"{_ROOM}.{module}").main(*arguments))
    except Refused as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(REFUSED)
