"""Signals that end a command."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

# Signals received so far. A library may replace the exception that a signal raises.
_received: list[int] = []
# Python needs this long to leave a `__del__`. Another exception inside it would be lost as well.
_SOON = 0.05


def listen() -> None:
    """End on SIGTERM as on Ctrl-C: with an exception, so that nothing is left behind."""
    _received.clear()
    sys.unraisablehook = _ignored
    signal.signal(signal.SIGTERM, _end)
    # The shell ignores SIGINT in background jobs; keep that.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _ignored(what: sys.UnraisableHookArgs) -> None:
    """Send a signal again if Python ignored its exception, as it does in `__del__`."""
    if not (_received and isinstance(what.exc_value, KeyboardInterrupt | SystemExit)):
        sys.__unraisablehook__(what)
        return
    timer = threading.Timer(_SOON, _send, [_received[-1]])
    timer.daemon = True
    timer.start()


def _send(number: int) -> None:
    """Send a signal to the main thread, and wake it where the system can."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)
    else:
        signal.raise_signal(number)


def exit_code() -> int | None:
    """Return the exit code that a shell reports for the first signal received, or `None`."""
    return 128 + _received[0] if _received else None


def ignore() -> None:
    """Ignore signals from here on: the command has ended, and the interpreter exits."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
