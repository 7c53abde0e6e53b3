"""The state from which an interrupted training run resumes, in one file, replaced atomically."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path
from keras_cbam.npz import read_arrays

# Increased when training changes. A run of another version is not resumed.
VERSION = 7
# The largest state that is read, in bytes.
LARGEST = 2**35


class _Begun(TypedDict, total=False):
    """The scores from before the first step, which not every run has."""

    start: dict[str, Any]


class Position(_Begun):
    """What a state file describes: the stage, epoch and batch, counted from 0, and the history."""

    stage: int
    epoch: int
    batch: int
    history: list[dict[str, Any]]
    run: dict[str, Any]


def save_arrays(path: Path, arrays: list[np.ndarray], description: dict[str, Any]) -> None:
    """Write arrays and a JSON description as one `.npz`, atomically."""
    named: dict[str, Any] = {f"array_{index}": array for index, array in enumerate(arrays)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, description=json.dumps(description), **named)


def load_arrays(path: Path) -> tuple[list[np.ndarray], dict[str, Any]] | None:
    """Read a file of `save_arrays`; return `None` if there is no file.

    Raises:
        InputError: if the file is damaged or of another kind.
    """
    if not path.exists():
        return None
    try:
        named = read_arrays(path, LARGEST)
        description = json.loads(str(named.pop("description")))
        if not isinstance(description, dict):
            raise ValueError("a description that is not an object")
        return [named[f"array_{index}"] for index in range(len(named))], description
    except (InputError, KeyError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: object) -> InputError:
    """Return the error for a state file that is damaged or belongs to another run."""
    return InputError(
        f"{path} cannot be read. Remove {path.parent} to begin anew. Received: {error}"
    )


def state_variables(model: keras.Model) -> list[Any]:
    """Return the weights, random states, optimizer variables and running metrics."""
    if keras.config.backend() == "jax":
        model.jax_state_sync()
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Set each variable to its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def drop_state(directory: Path) -> None:
    """Remove the files of a loop from a directory, and the directory if nothing else is in it."""
    for name in ("state.npz", "best.npz"):
        (directory / name).unlink(missing_ok=True)
    # The directory may hold other files, and another process may have removed it already.
    with contextlib.suppress(OSError):
        directory.rmdir()
