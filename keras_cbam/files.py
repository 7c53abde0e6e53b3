"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import os
import secrets
import shutil
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
    # Other hosts have processes of the same number.
    temporary = final.with_name(f".partial-{secrets.token_hex(4)}-{final.name}")
    try:
        yield temporary
        if temporary.is_file():
            # Without this a power cut may leave the new name on old, or no, content.
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def staging_directory(directory: str | Path) -> Iterator[Path]:
    """Yield a hidden directory within `directory`, and remove it at the end.

    Where `directory` did not exist, it and its parents are made, and removed again if they stay
    empty. What a killed process left of an earlier staging is removed first.
    """
    directory = Path(directory)
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob(".partial-*"):
        remove(left)
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=directory) as folder:
            yield Path(folder)
    finally:
        for path in made:
            if not any(path.iterdir()):
                path.rmdir()


def remove(path: Path) -> None:
    """Remove a file or a directory, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_writable(directory: str | Path) -> None:
    """Raise an `InputError` unless `directory` is, or could be made, a directory to write to.

    Nothing is left behind.
    """
    directory = Path(directory)
    existing = directory
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        if not existing.is_dir():
            raise InputError(f"Expected a directory to write to. Received a file: {existing}")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(f"Cannot write to directory {directory}: {error.strerror}.") from error
