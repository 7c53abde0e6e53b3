"""The directory of a training run: its results, and until they are there its state."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.files import check_writable
from keras_cbam.training.loop import drop_state

STATE_DIRECTORY = ".state"
# Written last.
REPORT = "report.md"


def check_output(output: Path, resume: bool) -> None:
    """Raise an `InputError` if a run cannot write to `output`, or would overwrite another."""
    check_writable(output)
    if (output / REPORT).exists():
        # What a kill between the last two steps of a run leaves.
        drop_state(output / STATE_DIRECTORY)
        raise InputError(f"{output} holds a finished run; remove it or choose another directory.")
    if (output / STATE_DIRECTORY).exists() and not resume:
        raise InputError(
            f"{output} holds an interrupted run; give --resume to go on with it, or "
            "choose another directory."
        )


def digest(paths: Iterable[Path], root: Path) -> str:
    """What tells one list of images of a folder from another."""
    names = "\n".join(Path(os.path.relpath(path, root)).as_posix() for path in paths)
    return hashlib.sha256(names.encode(errors="surrogatepass")).hexdigest()[:12]
