"""Child processes: nothing a runtime may abort on is loaded in the caller's process."""

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

# The module runs in a room of its own, so that its relative imports work while keras_cbam, and with
# it TensorFlow, stays out of the process: the runtime is alone there, as it will be when deployed.
_START = """
import importlib, sys, types
room = types.ModuleType("room")
room.__path__ = [sys.argv[1]]
sys.modules["room"] = room
importlib.import_module("room.children.process").start(*sys.argv[2:])
"""
# The folder export/, and what it is called in a child.
_EXPORT = Path(__file__).parents[1]
_ROOM = __package__.rpartition(".")[0]
# The exit code of a child that refuses what it was given.
REFUSED = 3
# How a child tells that it got no more memory.
_NO_MEMORY = ("memory", "alloc")
# The last bytes of a child's messages, which are read.
_TOLD = 64 * 2**10


class Limits(NamedTuple):
    """What a process that runs an artifact may use; at a limit it is ended.

    Attributes:
        seconds: of time by the clock; `None` for no limit.
        gibibytes: of memory that it writes to, on Linux; `None` for no limit.
    """

    seconds: float | None = 600
    gibibytes: float | None = 8


NO_LIMITS = Limits(None, None)


class RuntimeFailure(RuntimeError):
    """A runtime refused a file, or died of it."""


class Refused(RuntimeFailure):
    """A file is not run at all, for what stands in it."""


def run_in_child(module: str, *arguments: str | Path, limits: Limits = NO_LIMITS) -> None:
    """Call `main(*arguments)` of a module of `export` in a child process.

    The module may import its siblings relatively, but nothing that imports keras_cbam. At a limit
    the child and what it started are ended.

    Raises:
        Refused: if the module raises it.
        RuntimeFailure: if the child fails otherwise, with the last line it wrote, or takes too
            long.
    """
    command = [sys.executable, "-P", "-c", _START, str(_EXPORT), module]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(
            [*command, str(limits.gibibytes or 0), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            # It is ended with what it started. Without a limit Ctrl-C ends both.
            start_new_session=limits.seconds is not None,
        )
        try:
            code = process.wait(limits.seconds)
        except subprocess.TimeoutExpired as error:
            raise RuntimeFailure(
                f"{module} took more than the {limits.seconds:g} s that it may"
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


def _end(process: subprocess.Popen[bytes], whole: bool) -> None:
    """End a child that runs; with `whole` what it started too, if that is left."""
    if whole and hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _last_line(told: IO[bytes]) -> str:
    told.seek(max(0, told.seek(0, os.SEEK_END) - _TOLD))
    written = told.read().decode(errors="replace").splitlines()
    # LiteRT's INFO comes before an abort that says nothing itself.
    lines = [line for line in written if line.strip() and not line.startswith("INFO:")]
    return lines[-1] if lines else ""


def start(module: str, gibibytes: str, *arguments: str) -> None:
    """In the child process: bound its memory, and call `main` of a module of `export`."""
    if float(gibibytes):
        _bound_memory(int(float(gibibytes) * 2**30))
    try:
        importlib.import_module(f"{_ROOM}.{module}").main(*arguments)
    except Refused as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(REFUSED)


def _bound_memory(most: int) -> None:
    try:
        import resource
    except ImportError:  # on Windows
        return
    # What is reserved and never written to, as node reserves much, does not count.
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
