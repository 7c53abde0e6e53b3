"""Signals that end a command."""

from __future__ import annotations

import signal
import sys
from types import FrameType

# Signals received so far. A library may swallow the exception that a signal raises, or replace it.
_received: list[int] = []
_RAISED = (KeyboardInterrupt, SystemExit)


def listen() -> None:
    """End on SIGTERM as on Ctrl-C: with an exception, so that nothing is left behind."""
    _received.clear()
    signal.signal(signal.SIGTERM, _end)
    # The shell ignores SIGINT in background jobs; keep that.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def exit_code() -> int | None:
    """Return the exit code that a shell reports for the first signal received, or `None`."""
    return 128 + _received[0] if _received else None


def replaced_by(error: BaseException | None) -> bool:
    """Return whether a library raised `error` in place of a signal's exception."""
    while error is not None:
        # C libraries may keep only the name of the exception.
        if isinstance(error, _RAISED) or any(kind.__name__ in str(error) for kind in _RAISED):
            return bool(_received)
        error = error.__cause__ or error.__context__
    return False


def ignore() -> None:
    """Ignore signals from here on: the command has ended, and the interpreter exits."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
