"""The state from which an interrupted training run resumes, in one file, replaced atomically."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path
from keras_cbam.npz import read_arrays

# Increased when training changes. A run of another version is not resumed.
VERSION = 7
# The largest state that is read, in bytes.
LARGEST = 2**35


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


def save_state(path: Path, model: keras.Model, description: dict[str, Any]) -> None:
    """Write the values of `state_variables` and a JSON description."""
    save_arrays(path, [variable.numpy() for variable in state_variables(model)], description)


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


class RestoreMetrics(keras.callbacks.Callback):
    """Restores the running metrics when training resumes in the middle of an epoch.

    Args:
        running_metrics: their values; empty at the beginning of an epoch.
    """

    def __init__(self, running_metrics: list[np.ndarray]):
        super().__init__()
        self.running_metrics = running_metrics

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # `fit` has just reset the metrics.
        if self.running_metrics:
            assign(self.model.metrics_variables, self.running_metrics)


class SaveState(keras.callbacks.Callback):
    """Saves the state of a run every `seconds` seconds, so that a kill costs no more than that.

    Args:
        path: the state file.
        description: the description to store with the arrays. The number of finished batches of
            the epoch is added as `"batch"`.
        first_batch: number of batches of the epoch that were done before this call of `fit`.
        seconds: time between two saves.
    """

    def __init__(self, path: Path, description: dict[str, Any], first_batch: int, seconds: float):
        super().__init__()
        self.path = path
        self.description = description
        self.first_batch = first_batch
        self.seconds = seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # The loop saves the end of the epoch together with its scores.
        last = batch + 1 == self.params["steps"]
        if not last and time.monotonic() - self.saved >= self.seconds:
            done = self.first_batch + batch + 1
            save_state(self.path, self.model, {**self.description, "batch": done})
            self.saved = time.monotonic()


def drop_state(directory: Path) -> None:
    """Remove the files of a loop from a directory, and the directory if nothing else is in it."""
    for name in ("state.npz", "best.npz"):
        (directory / name).unlink(missing_ok=True)
    # The directory may hold other files, and another process may have removed it already.
    with contextlib.suppress(OSError):
        directory.rmdir()
