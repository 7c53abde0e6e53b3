"""The directory of a training run: its results, and until they are there its state."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras

from keras_cbam.config.training import TrainingConfig
from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path, check_writable, write_text
from keras_cbam.training.run_state import VERSION, drop_state

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


def identity(config: TrainingConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be the same for a run to be resumed: its options, its data, its backend.

    Args:
        config: the run.
        data: what tells its images from others, by name.
    """
    options = asdict(replace(config, output="", data="", checkpoint_seconds=0))
    told = {"version": VERSION, **options, **data, "backend": keras.config.backend()}
    return json.loads(json.dumps(told))


def write_results(
    output: Path,
    record: Mapping[str, Any],
    classes: Iterable[str],
    files: Mapping[str, Callable[[Path], Any]],
    report: str,
) -> None:
    """Write every file of a finished run, each complete or not at all, the report last.

    Args:
        output: the directory.
        record: what `history.json` holds.
        classes: the lines of `labels.txt`.
        files: by name, what writes a file to a path.
        report: what `report.md` holds.
    """
    for name, write in files.items():
        with atomic_path(output / name) as path:
            write(path)
    write_text(output / "labels.txt", "".join(f"{name}\n" for name in classes))
    write_text(output / "history.json", json.dumps(record, indent=2) + "\n")
    write_text(output / REPORT, report)
