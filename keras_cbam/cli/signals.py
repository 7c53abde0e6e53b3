"""Signals that end a command."""

from __future__ import annotations

import signal
import sys
from types import FrameType

# Those that came. A library may swallow the exception of one, or raise another in its place.
_came: list[int] = []


def listen() -> None:
    """End on SIGTERM as on Ctrl-C, with an exception, so that nothing is left behind."""
    _came.clear()
    signal.signal(signal.SIGTERM, _end)
    # A shell starts what runs in the background with this one ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def exit_code() -> int | None:
    """The exit code that a shell reports for the first signal that came; `None` if none did."""
    return 128 + _came[0] if _came else None
