"""Training in stages that goes on where it was cut off, in one process or in several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.files import remove_abandoned
from keras_cbam.schema import decode
from keras_cbam.training.processes import ALONE, Processes, told_if_lost
from keras_cbam.training.recipe import averages
from keras_cbam.training.run_state import (
    RestoreMetrics,
    SaveState,
    drop_state,
    load_arrays,
    save_arrays,
    state_variables,
    unreadable,
)

# Batches of the epoch of a stage, from a batch on: stage, epoch, first batch.
Batches = Callable[[int, int, int], Any]
Scores = dict[str, float]
# What the names of scores begin with in the history.
SELECTION = "selection_"


def by_accuracy(scores: Scores) -> tuple[float, float]:
    """The highest accuracy; of equal ones the lowest loss."""
    return scores["accuracy"], -scores["loss"]


class Stage(NamedTuple):
    """Consecutive epochs with one optimizer.

    Attributes:
        name: what it is called in the history.
        epochs: how many.
        compile: `compile(model, start)` compiles the model, and creates all variables of its
            training, as `compile_model` does. `start` has the scores made within the loop's start,
            if it has one and scores, else `None`. Where a run goes on in a later stage,
            those of earlier stages are not called, so it also chooses all layers that learn.
    """

    name: str
    epochs: int
    compile: Callable[[keras.Model, Scores | None], None]


class _Begun(TypedDict, total=False):
    """What a run may have scored before its first step."""

    start: dict[str, Any]


class _Position(_Begun):
    """Where a run is: stage, epoch and batch, each counted from 0; and what came before."""

    stage: int
    epoch: int
    batch: int
    history: list[dict[str, Any]]
    run: dict[str, Any]


class TrainingLoop:
    """Trains a model stage by stage; a kill at any moment leaves a state to go on from.

    Where there is a state, of a run of the same identity, it goes on from there, and ends as the
    uninterrupted run would have: bit for bit, if the backend computes the same twice. With several
    processes the first one writes, and all of them read, so `directory` is one that they share.

    Args:
        model: the model.
        stages: what is done with it.
        batches: `batches(stage, epoch, first_batch)` returns what `fit` takes, of the epoch counted
            from 0 without its first batches; the same each time. Any `keras.utils.PyDataset`; of a
            `tf.data.Dataset` of known length that repeats itself, `dataset.skip(first_batch)`.
        directory: of `state.npz` and `best.npz`.
        identity: what must be the same for a run to go on, of values that JSON keeps.
        start: a context that a new run enters before its first step. Within it, the weights are
            those to score; after it, those to train. `None` to train the weights as they are.
        score: returns scores on images held out, by which weights are kept; `None` for neither.
        rank: what of the scores is best where it is highest, a tuple; by default the accuracy, then
            the loss.
        tied: `tied(scores, best)`: whether scores are as good as the best so far, as far as the
            images held out can tell. Of tied epochs the last is kept. Defaults to `None`, the
            highest rank is kept.
        checkpoint_seconds: time between two saves.
        processes: those that train together.

    Raises:
        InputError: if the directory holds the state of a run of another identity.
    """

    def __init__(
        self,
        model: keras.Model,
        stages: Sequence[Stage],
        batches: Batches,
        directory: Path,
        identity: dict[str, Any],
        *,
        start: Callable[[], contextlib.AbstractContextManager[None]] | None = None,
        score: Callable[[], Scores] | None = None,
        rank: Callable[[Scores], tuple[float, ...]] = by_accuracy,
        tied: Callable[[Scores, Scores], bool] | None = None,
        checkpoint_seconds: float = 30.0,
        processes: Processes = ALONE,
    ):
        self.model = model
        self.stages = tuple(stages)
        self.batches = batches
        self.start = start
        self.score = score
        self.rank = rank
        self.tied = tied
        self.checkpoint_seconds = checkpoint_seconds
        self.processes = processes
        self.state_path = directory / "state.npz"
        self.best_path = directory / "best.npz"
        self.state = load_arrays(self.state_path)
        self.position: dict[str, Any] = {"stage": 0, "epoch": 0, "batch": 0, "history": []}
        if self.state:
            self.position = self.state[1]
            self._check_same_run(identity)
            self._check_position()
        self.position["run"] = identity
        # Nothing is written before all have read.
        processes.agree("state", self.position)
        if processes.first:
            directory.mkdir(parents=True, exist_ok=True)
            remove_abandoned(directory)
            if not self.state:
                self.best_path.unlink(missing_ok=True)

    def _check_same_run(self, identity: dict[str, Any]) -> None:
        before = self.position.get("run")
        if not isinstance(before, dict):
            raise InputError(
                f"{self.state_path} is not the state of a run; remove it to begin anew."
            )
        if before.get("version") != identity.get("version"):
            raise InputError(
                f"{self.state_path.parent} was begun by another version of keras_cbam, which trains"
                " otherwise. Finish it with that version, or begin anew in another directory."
            )
        for name, value in identity.items():
            if before.get(name) != value:
                raise InputError(
                    f"{self.state_path.parent} was begun with {name} {before.get(name)}, "
                    f"not {value}; resume it with the same options and data."
                )

    def _check_position(self) -> None:
        try:
            decode(_Position, self.position, "the state")
        except InputError as error:
            raise unreadable(self.state_path, error) from error
        stage, epoch, batch = (self.position[name] for name in ("stage", "epoch", "batch"))
        known = 0 <= stage < max(1, len(self.stages)) and batch >= 0
        if not known or (self.stages and not 0 <= epoch <= self.stages[stage].epochs):
            raise unreadable(self.state_path, f"stage {stage}, epoch {epoch}, batch {batch}")

    def run(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> list[dict[str, Any]]:
        """Train what is left, and return the history: a row for each epoch of every stage."""
        if self.state is None and self.start is not None:
            with told_if_lost(), self.start():
                if self.score:
                    self.position["start"] = self.score()
                    self._keep_best(0, self.position["start"], [])
        for index, stage in enumerate(self.stages):
            if index >= self.position["stage"]:
                with told_if_lost():
                    self._train(index, stage, callbacks)
        return self.position["history"]

    def best(self) -> tuple[list[np.ndarray], dict[str, Any]]:
        """The weights kept, with their scores and their epoch, counted over all stages.

        Epoch 0 is what was scored at the start.
        """
        self.processes.wait("best written")
        saved = load_arrays(self.best_path)
        if saved is None:
            raise RuntimeError(f"The weights kept are missing from {self.best_path}.")
        self._check_shapes(self.best_path, self.model.weights, saved[0])
        return saved

    def drop_state(self) -> None:
        """Remove what the loop wrote, and the directory if nothing else is in it."""
        self.processes.wait("state used")
        if self.processes.first:
            drop_state(self.state_path.parent)

    def _train(self, index: int, stage: Stage, callbacks: Sequence[Any]) -> None:
        stage.compile(self.model, self.position.get("start"))
        running_metrics: list[np.ndarray] = []
        if self.state and self.position["stage"] == index:
            running_metrics = self._restore(self.state[0])
        elif index > self.position["stage"]:
            self.position.update(stage=index, epoch=0, batch=0)
        for epoch in range(self.position["epoch"], stage.epochs):
            first_batch = self.position["batch"]
            raw = _WeightsAsTrained()
            watchers = [raw, RestoreMetrics(running_metrics if first_batch else [])]
            if self.processes.first:
                seconds = self.checkpoint_seconds
                watchers += [SaveState(self.state_path, self.position, first_batch, seconds)]
            batches = self.batches(index, epoch, first_batch)
            logs = self._fit(batches, epoch, [*watchers, *callbacks])
            self._end_epoch(stage, epoch, logs, raw)
        _average(self.model)

    def _fit(self, batches: Any, epoch: int, callbacks: Sequence[Any]) -> Scores:
        # Keras's own: KerasHub's takes no `PyDataset`.
        history = keras.Model.fit(
            self.model,
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            callbacks=list(callbacks),
            verbose=0,
        )
        _average(self.model)
        return {name: float(values[-1]) for name, values in history.history.items()}

    def _end_epoch(self, stage: Stage, epoch: int, logs: Scores, raw: _WeightsAsTrained) -> None:
        scores = self.score() if self.score else {}
        before = self._scored()
        row = {
            "phase": stage.name,
            "epoch": epoch + 1,
            **logs,
            **{f"{SELECTION}{name}": value for name, value in scores.items()},
        }
        self.position["history"].append(row)
        if scores:
            self._keep_best(len(self.position["history"]), scores, before)
        raw.put_back()
        self.position.update(epoch=epoch + 1, batch=0)
        if self.processes.first:
            arrays = [variable.numpy() for variable in state_variables(self.model)]
            save_arrays(self.state_path, arrays, self.position)

    def _restore(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Put saved values back; return those of the running metrics, which `fit` will reset."""
        variables = state_variables(self.model)
        self._check_shapes(self.state_path, variables, arrays)
        for variable, value in zip(variables, arrays, strict=True):
            variable.assign(value)
        return arrays[len(variables) - len(self.model.metrics_variables) :]

    def _check_shapes(self, path: Path, variables: list[Any], arrays: list[np.ndarray]) -> None:
        expected, found = ([tuple(each.shape) for each in some] for some in (variables, arrays))
        if found != expected:
            raise unreadable(path, "arrays of other shapes than the network's")

    def _scored(self) -> list[Scores]:
        """The scores so far, that of the start first."""
        rows = [
            {k.removeprefix(SELECTION): v for k, v in row.items() if k.startswith(SELECTION)}
            for row in self.position["history"]
        ]
        return [self.position["start"], *rows] if "start" in self.position else rows

    def _keep_best(self, epoch: int, scores: Scores, before: Sequence[Scores]) -> None:
        best = max(before, key=self.rank, default=None)
        if self.processes.first and (best is None or self._keeps(scores, best)):
            save_arrays(self.best_path, self.model.get_weights(), {"epoch": epoch, **scores})

    def _keeps(self, scores: Scores, best: Scores) -> bool:
        higher = self.rank(scores) > self.rank(best)
        return higher or (self.tied is not None and self.tied(scores, best))


class _WeightsAsTrained(keras.callbacks.Callback):
    """Keeps what `fit` overwrites at its end with their moving average, where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if averages(self.model.optimizer):
            state_variables(self.model)
            self.values = [variable.numpy() for variable in self.model.trainable_variables]

    def put_back(self) -> None:
        """Go on training with the weights that were trained."""
        if self.values:
            values = zip(self.model.trainable_variables, self.values, strict=True)
            for variable, value in values:
                variable.assign(value)


def _average(model: keras.Model) -> None:
    """Give the model the moving average of its weights, where there is one."""
    if averages(model.optimizer):
        model.optimizer.finalize_variable_values(model.trainable_variables)
        for variable in model.trainable_variables:
            # Values of its own: JAX gives buffers away when it predicts.
            variable.assign(variable.numpy())
