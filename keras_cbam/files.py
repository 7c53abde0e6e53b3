"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_cbam.errors import InputError, MissingPackageError, refused
from keras_cbam.text import first_line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Prefix of the names of unfinished files and directories.
PARTIAL = ".partial-"
# Age in seconds at which a partial file counts as abandoned on Windows, which has no `flock`.
ABANDONED = 86400.0
# How often to try to make a directory that other processes keep removing.
TRIES = 1000


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path near `path`, and rename it to `path` if nothing was raised.

    The temporary file is also called `path.name`, since some writers choose the format by suffix.
    """
    final = Path(path)
    with _own_directory(final.parent) as folder:
        temporary = folder / final.name
        yield temporary
        if temporary.is_file():
            # Without this, a power cut may leave the new name on old or missing content.
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        os.replace(temporary, final)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def staging_directory(directory: str | Path) -> Iterator[Path]:
    """Yield a hidden directory within `directory`, and remove it at the end.

    If `directory` does not exist, it is made with its parents. They are removed again if they stay
    empty. Staging directories that killed processes left behind are removed first.
    """
    directory = Path(directory)
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    remove_abandoned(directory)
    try:
        with _own_directory(directory, make_parent=True) as folder:
            yield folder
    finally:
        for path in made:
            # Another process may have written to the directory, or removed it.
            with contextlib.suppress(OSError):
                path.rmdir()


def publish(staging: Path, directory: Path, last: str) -> None:
    """Move the files of a staging directory to their final names, the file `last` after others."""
    for path in sorted(staging.iterdir(), key=lambda path: path.name == last):
        os.replace(path, directory / path.name)


@contextmanager
def _own_directory(parent: Path, make_parent: bool = False) -> Iterator[Path]:
    """Yield a hidden directory in `parent`, locked while it is in use, and remove it."""
    folder, lock = _locked_directory(parent, make_parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked_directory(parent: Path, make_parent: bool) -> tuple[Path, int | None]:
    """Make a directory and lock it. The system releases the lock when the process ends."""
    for tries_left in reversed(range(TRIES)):
        try:
            if make_parent:
                parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=parent))
        except FileNotFoundError:
            # Another process has just removed the parent, which was empty.
            if make_parent and tries_left:
                continue
            raise
        if fcntl is None:
            return folder, None
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            # The directory looked abandoned before the lock, and another process removed it.
            os.close(lock)
    raise OSError(f"Cannot keep a directory in {parent}; other processes remove it")


def remove_abandoned(directory: str | Path) -> None:
    """Remove unfinished files of killed processes from `directory`, but none that is in use."""
    for left in Path(directory).glob(f"{PARTIAL}*"):
        # The file may belong to another user, or another process may remove it at the same time.
        with contextlib.suppress(OSError), _locked_if_abandoned(left):
            remove(left)


@contextmanager
def _locked_if_abandoned(path: Path) -> Iterator[None]:
    """Lock a partial file or directory; raise an `OSError` if a process uses it."""
    if fcntl is None:
        if time.time() - path.stat().st_mtime <= ABANDONED:
            raise BlockingIOError(f"{path} may be in use")
        yield
        return
    lock = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def remove(path: Path) -> None:
    """Remove a file or a directory, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Return whether an error means that the disk is full, whichever library raised it."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return full or os.strerror(errno.ENOSPC) in str(error)


def told(error: Exception) -> str | None:
    """Return an error as one sentence for the user, or `None` for a bug in the program."""
    if isinstance(error, InputError | MissingPackageError):
        return str(error)
    if is_full(error):
        return "No space is left on the disk. Files under their final names are complete."
    if not isinstance(error, OSError):
        return None
    # An `OSError` that a library raises itself has only a message.
    reason = error.strerror or first_line(error)
    return f"{error.filename}: {reason}." if error.filename else f"{reason}."


def check_writable(directory: str | Path) -> None:
    """Raise an `InputError` unless `directory` is writable, or can be made.

    The check leaves nothing behind.
    """
    directory = Path(directory)
    what = f"Cannot write to directory {directory}: "
    with refused(what, only=(OSError,), told=lambda error: f"{error.strerror}."):
        places = (directory, *directory.parents)
        # No part of a relative path exists if the working directory was removed.
        existing = next(filter(os.path.lexists, places), directory)
        if not existing.is_dir():
            found = "a file" if existing.exists() else "a broken link"
            raise InputError(f"Expected a directory to write to. Received {found}: {existing}")
        with tempfile.TemporaryFile(dir=existing):
            pass
        with contextlib.suppress(FileNotFoundError):
            # This raises if the name is longer than the file system allows.
            os.lstat(directory)
