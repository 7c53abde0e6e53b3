"""What an interrupted training run needs to go on: one file, replaced whole."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path
from keras_cbam.npz import read_arrays

# Counted up when the way of training changes. A run of another number is not resumed.
VERSION = 7
# Bytes of the state of a run.
LARGEST = 2**35


def save_arrays(path: Path, arrays: list[np.ndarray], description: dict[str, Any]) -> None:
    """Write arrays and a JSON description as one `.npz`, atomically."""
    named: dict[str, Any] = {f"array_{index}": array for index, array in enumerate(arrays)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, description=json.dumps(description), **named)


def load_arrays(path: Path) -> tuple[list[np.ndarray], dict[str, Any]] | None:
    """Read what `save_arrays` wrote, `None` if there is no file.

    Raises:
        InputError: if the file is something else, or damaged.
    """
    if not path.exists():
        return None
    try:
        named = read_arrays(path, LARGEST)
        description = json.loads(str(named.pop("description")))
        if not isinstance(description, dict):
            raise ValueError("a description that is no object")
        return [named[f"array_{index}"] for index in range(len(named))], description
    except (InputError, KeyError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: object) -> InputError:
    """What to say of a file of a run's state that is damaged, or another's."""
    return InputError(
        f"{path} cannot be read. Remove {path.parent} to begin anew. Received: {error}"
    )


def state_variables(model: keras.Model) -> list[Any]:
    """The weights, the random states, the optimizer's variables and the running metrics."""
    if keras.config.backend() == "jax":
        model.jax_state_sync()
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


class RestoreMetrics(keras.callbacks.Callback):
    """Put the running metrics back when an epoch begins in its middle.

    Args:
        running_metrics: their values; none at the beginning of an epoch.
    """

    def __init__(self, running_metrics: list[np.ndarray]):
        super().__init__()
        self.running_metrics = running_metrics

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # `fit` has just reset the metrics.
        if self.running_metrics:
            for variable, value in zip(
                self.model.metrics_variables, self.running_metrics, strict=True
            ):
                variable.assign(value)


class SaveState(keras.callbacks.Callback):
    """Save the state of a run every so many seconds, so that a kill costs no more than that.

    Args:
        path: the state file.
        description: what to store with the arrays; the number of finished batches of the epoch is
            added as `"batch"`.
        first_batch: how many batches of the epoch were done before this call of `fit`.
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
        # The end of the epoch is saved with the scores that follow it.
        last = batch + 1 == self.params["steps"]
        if not last and time.monotonic() - self.saved >= self.seconds:
            arrays = [variable.numpy() for variable in state_variables(self.model)]
            done = self.first_batch + batch + 1
            save_arrays(self.path, arrays, {**self.description, "batch": done})
            self.saved = time.monotonic()


def drop_state(directory: Path) -> None:
    """Remove what a loop wrote to a directory, and the directory if nothing else is in it."""
    for name in ("state.npz", "best.npz"):
        (directory / name).unlink(missing_ok=True)
    # What another has put there stays, and another may have removed it already.
    with contextlib.suppress(OSError):
        directory.rmdir()
