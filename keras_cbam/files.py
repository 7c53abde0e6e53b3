"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_cbam.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` if nothing was raised.

    The temporary name is hidden and ends as `path` does, since some writers go by the suffix.
    """
    final = Path(path)
    temporary = final.with_name(f".partial-{os.getpid()}-{final.name}")
    try:
        yield temporary
        if temporary.is_file():
            # Without this a power cut may leave the new name on old, or no, content.
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(directory: str | Path) -> None:
    """Raise an `InputError` unless `directory` is, or could be made, a directory to write to.

    Nothing is left behind.
    """
    directory = Path(directory)
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise InputError(f"Expected a directory to write to. Received a file: {existing}")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(f"Cannot write to directory {directory}: {error.strerror}.") from error
