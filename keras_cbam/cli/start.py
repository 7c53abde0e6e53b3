"""The setup that every command does before its work: memory, backend, Keras."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from keras_cbam.cli.memory import keep_freed_memory
from keras_cbam.errors import require

_messages_are_shown = False


def start(*, trains: bool = False, needs_tensorflow: bool = False) -> None:
    """Import Keras for a command. Its help and the errors of its options do not wait for that.

    Args:
        trains: whether to keep the memory that a training step frees.
        needs_tensorflow: whether to use the TensorFlow backend, regardless of Keras's setting.
    """
    if trains:
        keep_freed_memory()
    if needs_tensorflow:
        require("tensorflow")
        os.environ["KERAS_BACKEND"] = "tensorflow"
    if not _messages_are_shown:
        # This hides later messages, but not those of the import.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with nullcontext() if _messages_are_shown else _held_back():
        importlib.import_module("keras")


def show_messages() -> None:
    """Let C libraries write their messages to standard error."""
    global _messages_are_shown
    _messages_are_shown = True


@contextmanager
def _held_back() -> Iterator[None]:
    """Hide the output to standard error, also of C libraries, unless an exception is raised."""
    sys.stderr.flush()
    stream = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stream, held.read())
            raise
        finally:
            os.dup2(stream, 2)
            os.close(stream)
