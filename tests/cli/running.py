"""Runs the command line, in a process of its own or in this one."""

import contextlib
import io
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

from keras_cbam.cli import main


def command(*arguments):
    return [sys.executable, "-m", "keras_cbam.cli", *map(str, arguments)]


def run(*arguments):
    """Run a command in a process of its own, as a user does."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def run_here(*arguments):
    """Run a command in this process, which is spared importing everything anew.

    Returns:
        What `subprocess.run` would: `returncode`, `stdout` and `stderr`. What the command does not
        turn into an exit code is raised.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stdout, stderr = io.StringIO(), io.StringIO()
    try:
        with (
            mock.patch.object(sys, "argv", ["keras-cbam", *map(str, arguments)]),
            # It cannot be undone, and other tests share this process.
            mock.patch("keras_cbam.cli.start.keep_freed_memory"),
            mock.patch.object(sys, "unraisablehook", sys.unraisablehook),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            main()
    except SystemExit as stopped:
        code = stopped.code or 0
        return SimpleNamespace(returncode=code, stdout=stdout.getvalue(), stderr=stderr.getvalue())
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    raise AssertionError("The command line ended without an exit code.")
