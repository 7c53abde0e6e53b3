"""A training loop in stages that resumes after an interruption, in one process or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.files import remove_abandoned
from keras_cbam.schema import decode
from keras_cbam.training.processes import ALONE, Processes, told_if_lost
from keras_cbam.training.recipe import averages
from keras_cbam.training.run_state import (
    Position,
    assign,
    drop_state,
    load_arrays,
    save_arrays,
    state_variables,
    unreadable,
)

# A function of (stage, epoch, first batch) that returns the rest of that epoch's batches.
Batches = Callable[[int, int, int], Any]
Scores = dict[str, float]
# The prefix of the names of scores in the history.
SELECTION = "selection_"


def by_accuracy(scores: Scores) -> tuple[float, float]:
    """Rank scores by the highest accuracy, then by the lowest loss."""
    return scores["accuracy"], -scores["loss"]


class Stage(NamedTuple):
    """Consecutive epochs with one optimizer.

    Attributes:
        name: its name in the history.
        epochs: the number of epochs.
        compile: `compile(model, start)` compiles the model and creates all variables of its
            training, as `compile_model` does. It also sets which layers are trainable, because a
            run that resumes in a later stage does not call the `compile` of earlier stages.
            `start` holds the scores from within the loop's `start`, or `None` if the loop has no
            `start` or no `score`.
    """

    name: str
    epochs: int
    compile: Callable[[keras.Model, Scores | None], None]


@dataclass(eq=False)
class TrainingLoop:
    """Trains a model stage by stage, and can resume after a kill at any moment.

    If `directory` holds the state of a run with the same identity, training resumes from it. It
    ends as the uninterrupted run would have: bit for bit, if the backend is deterministic. With
    several processes, the first one writes and all of them read, so they must share `directory`.

    Args:
        model: the model.
        stages: the stages to train, in order.
        batches: `batches(stage, epoch, first_batch)` returns the data for `fit`: the batches of the
            epoch, counted from 0, from `first_batch` on. They must be the same each time. It can be
            any `keras.utils.PyDataset`, or `dataset.skip(first_batch)` of a `tf.data.Dataset` that
            has a known length and gives the same batches each time.
        directory: the directory of `state.npz` and `best.npz`.
        identity: JSON values that must be the same for a run to be resumed.
        start: returns a context that a new run enters before its first step. Within the context,
            the model has the weights to score; after it, the weights to train. `None` to train the
            weights as they are.
        score: returns scores on held-out images, which decide the weights to keep. `None` to
            neither score nor keep weights.
        rank: returns a tuple for scores; the highest tuple is the best. By default the accuracy,
            then the loss.
        tied: `tied(scores, best)` returns whether `scores` are as good as the best so far, as far
            as the held-out images can tell. The last of tied epochs is kept. Defaults to `None`, to
            keep the highest rank.
        checkpoint_seconds: time between two saves, in seconds.
        processes: the processes that train together.

    Raises:
        InputError: if the directory holds the state of a run with another identity.
    """

    model: keras.Model
    stages: Sequence[Stage]
    batches: Batches
    directory: Path
    identity: dict[str, Any]
    _: KW_ONLY
    start: Callable[[], AbstractContextManager[None]] | None = None
    score: Callable[[], Scores] | None = None
    rank: Callable[[Scores], tuple[float, ...]] = by_accuracy
    tied: Callable[[Scores, Scores], bool] | None = None
    checkpoint_seconds: float = 30.0
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        self.state_path = self.directory / "state.npz"
        self.best_path = self.directory / "best.npz"
        self.state = load_arrays(self.state_path)
        self.position: dict[str, Any] = {"stage": 0, "epoch": 0, "batch": 0, "history": []}
        if self.state:
            self.position = self.state[1]
            self._check_same_run()
            self._check_position()
        self.position["run"] = self.identity
        # No process writes before all have read.
        self.processes.agree("state", self.position)
        if self.processes.first:
            self.directory.mkdir(parents=True, exist_ok=True)
            remove_abandoned(self.directory)
            if not self.state:
                self.best_path.unlink(missing_ok=True)

    def _check_same_run(self) -> None:
        before = self.position.get("run")
        if not isinstance(before, dict):
            raise InputError(
                f"{self.state_path} is not the state of a run; remove it to begin anew."
            )
        if before.get("version") != self.identity.get("version"):
            raise InputError(
                f"{self.directory} was begun by another version of keras_cbam, which trains"
                " differently. Finish it with that version, or begin anew in another directory."
            )
        for name, value in self.identity.items():
            if before.get(name) != value:
                raise InputError(
                    f"{self.directory} was begun with {name} {before.get(name)}, "
                    f"not {value}; resume it with the same options and data."
                )

    def _check_position(self) -> None:
        try:
            decode(Position, self.position, "the state")
        except InputError as error:
            raise unreadable(self.state_path, error) from error
        stage, epoch, batch = (self.position[name] for name in ("stage", "epoch", "batch"))
        known = 0 <= stage < max(1, len(self.stages)) and batch >= 0
        if not known or (self.stages and not 0 <= epoch <= self.stages[stage].epochs):
            raise unreadable(self.state_path, f"stage {stage}, epoch {epoch}, batch {batch}")

    def run(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> list[dict[str, Any]]:
        """Train the remaining epochs, and return the history: a row for each epoch and stage."""
        if self.state is None and self.start is not None:
            with told_if_lost(), self.start():
                if self.score:
                    scores = self.score()
                    self._keep_best(0, scores)
                    self.position["start"] = scores
        for index, stage in enumerate(self.stages):
            if index >= self.position["stage"]:
                with told_if_lost():
                    self._train(index, stage, callbacks)
        return self.position["history"]

    def best(self) -> tuple[list[np.ndarray], dict[str, Any]]:
        """Return the kept weights, and a dictionary of their scores and epoch.

        Epochs are counted over all stages. Epoch 0 means the weights that were scored at the start.
        """
        self.processes.wait("best written")
        saved = load_arrays(self.best_path)
        if saved is None:
            raise RuntimeError(f"The weights kept are missing from {self.best_path}.")
        self._check_shapes(self.best_path, self.model.weights, saved[0])
        return saved

    def save_state(self, batch: int) -> None:
        """Save the state of the run after `batch` batches of an epoch, in the first process."""
        if self.processes.first:
            values = [variable.numpy() for variable in state_variables(self.model)]
            save_arrays(self.state_path, values, {**self.position, "batch": batch})

    def drop_state(self) -> None:
        """Remove the files of the loop, and the directory if nothing else is in it."""
        self.processes.wait("state used")
        if self.processes.first:
            drop_state(self.directory)

    def _train(self, index: int, stage: Stage, callbacks: Sequence[Any]) -> None:
        stage.compile(self.model, self.position.get("start"))
        if self.state and self.position["stage"] == index:
            variables = state_variables(self.model)
            self._check_shapes(self.state_path, variables, self.state[0])
            assign(variables, self.state[0])
        elif index > self.position["stage"]:
            self.position.update(stage=index, epoch=0, batch=0)
        for epoch in range(self.position["epoch"], stage.epochs):
            state = _EpochState(self)
            # Call Keras's own `fit`: that of KerasHub takes no `PyDataset`.
            logs = keras.Model.fit(
                self.model,
                self.batches(index, epoch, self.position["batch"]),
                initial_epoch=epoch,
                epochs=epoch + 1,
                shuffle=False,
                callbacks=[state, *callbacks],
                verbose=0,
            ).history
            _average(self.model)
            self._end_epoch(stage, epoch, {name: float(logs[name][-1]) for name in logs}, state)
        _average(self.model)

    def _end_epoch(self, stage: Stage, epoch: int, logs: Scores, state: _EpochState) -> None:
        scores = self.score() if self.score else {}
        history = self.position["history"]
        if scores:
            self._keep_best(len(history) + 1, scores)
        held_out = {f"{SELECTION}{name}": value for name, value in scores.items()}
        history.append({"phase": stage.name, "epoch": epoch + 1, **logs, **held_out})
        state.put_back()
        self.position.update(epoch=epoch + 1, batch=0)
        self.save_state(0)

    def _check_shapes(self, path: Path, variables: list[Any], arrays: list[np.ndarray]) -> None:
        expected, found = ([tuple(each.shape) for each in some] for some in (variables, arrays))
        if found != expected:
            raise unreadable(path, "arrays of other shapes than the network's")

    def _keep_best(self, epoch: int, scores: Scores) -> None:
        """Save the weights unless those of the start or of a former epoch are better."""
        if not self.processes.first:
            return
        before = [self.position["start"]] if "start" in self.position else []
        before += [
            {k.removeprefix(SELECTION): v for k, v in row.items() if k.startswith(SELECTION)}
            for row in self.position["history"]
        ]
        best = max(before, key=self.rank, default=None)
        if (
            best is None
            or self.rank(scores) > self.rank(best)
            or (self.tied and self.tied(scores, best))
        ):
            save_arrays(self.best_path, self.model.get_weights(), {"epoch": epoch, **scores})


class _EpochState(keras.callbacks.Callback):
    """Saves the state of a loop in an epoch, and keeps the values that `fit` overwrites.

    The state is saved every `checkpoint_seconds` seconds, so that a kill costs no more than that.
    `fit` resets the running metrics, also where training resumes in the middle of the epoch, and
    sets the weights to their moving average at the end, if they have one.
    """

    def __init__(self, loop: TrainingLoop):
        super().__init__()
        self.loop = loop
        self.first_batch = loop.position["batch"]
        running = loop.model.metrics_variables if self.first_batch else []
        self.running_metrics = [variable.numpy() for variable in running]
        self.weights_as_trained: list[np.ndarray] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # `fit` has just reset the metrics.
        if self.running_metrics:
            assign(self.model.metrics_variables, self.running_metrics)
        self.saved_at = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # The loop saves the end of the epoch together with its scores.
        last = batch + 1 == self.params["steps"]
        if not last and time.monotonic() - self.saved_at >= self.loop.checkpoint_seconds:
            self.loop.save_state(self.first_batch + batch + 1)
            self.saved_at = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if averages(self.model.optimizer):
            state_variables(self.model)
            self.weights_as_trained = [
                variable.numpy() for variable in self.model.trainable_variables
            ]

    def put_back(self) -> None:
        """Restore the trained weights, to go on training from them."""
        if self.weights_as_trained:
            assign(self.model.trainable_variables, self.weights_as_trained)


def _average(model: keras.Model) -> None:
    """Set the weights of the model to their moving average, if the optimizer has one."""
    if averages(model.optimizer):
        model.optimizer.finalize_variable_values(model.trainable_variables)
        for variable in model.trainable_variables:
            # Copy the values: JAX donates buffers when it predicts.
            variable.assign(variable.numpy())
