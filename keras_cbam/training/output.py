"""The output directory of a training run: its state during training, then its results."""

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
# The report is written last, so it marks a finished run.
REPORT, HISTORY = "report.md", "history.json"


def check_output(output: Path, resume: bool) -> None:
    """Raise an `InputError` if a run cannot write to `output`, or would overwrite another."""
    check_writable(output)
    if (output / REPORT).exists() and not (output / HISTORY).exists():
        raise InputError(f"{output / REPORT} is in the way, and no run wrote it.")
    if (output / REPORT).exists():
        # A kill between the last two steps of a run leaves its state behind.
        drop_state(output / STATE_DIRECTORY)
        raise InputError(f"{output} holds a finished run; remove it or choose another directory.")
    if (output / STATE_DIRECTORY).exists() and not resume:
        raise InputError(
            f"{output} holds an interrupted run; give --resume to go on with it, or "
            "choose another directory."
        )


def digest(paths: Iterable[Path], root: Path) -> str:
    """Return a digest that identifies a list of images by their paths relative to `root`."""
    names = "\n".join(Path(os.path.relpath(path, root)).as_posix() for path in paths)
    return hashlib.sha256(names.encode(errors="surrogatepass")).hexdigest()[:12]


def identity(config: TrainingConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, data and backend that must be the same for a run to be resumed.

    Args:
        config: the configuration of the run.
        data: values that identify its images, by name.
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
    """Write every file of a finished run, each atomically, the report last.

    Args:
        output: the directory.
        record: the content of `history.json`.
        classes: the lines of `labels.txt`.
        files: for each file name, a function that writes the file to a path.
        report: the content of `report.md`.
    """
    for name, write in files.items():
        with atomic_path(output / name) as path:
            write(path)
    write_text(output / "labels.txt", "".join(f"{name}\n" for name in classes))
    write_text(output / HISTORY, json.dumps(record, indent=2) + "\n")
    write_text(output / REPORT, report)
