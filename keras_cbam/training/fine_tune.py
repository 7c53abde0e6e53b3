"""Fine-tuning: the head first, then the whole network at a lower rate."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, require
from keras_cbam.files import check_writable, remove
from keras_cbam.surgery.gates import gate_movement
from keras_cbam.training.backbones import check_backbone
from keras_cbam.training.classifier import build_classifier, check_attention
from keras_cbam.training.fine_tune_config import FineTuneConfig, Phase
from keras_cbam.training.fine_tune_report import write_outputs
from keras_cbam.training.image_batches import ImageBatches, check_augmentations
from keras_cbam.training.image_folder import ImageFolder, read_image_folder
from keras_cbam.training.phases import compile_phase
from keras_cbam.training.run_state import (
    SaveState,
    load_arrays,
    read_description,
    save_arrays,
    state_variables,
)

STATE_DIRECTORY = ".state"


@dataclass(frozen=True)
class FineTuneResult:
    """What a run came to.

    Attributes:
        model: the Keras model with the best weights.
        folder: the images, as they were split.
        record: configuration, epochs, best epoch and scores: what `history.json` holds.
    """

    model: keras.Model
    folder: ImageFolder
    record: dict[str, Any]


def fine_tune(
    config: FineTuneConfig,
    *,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Callable[[int, int], None] | None = None,
) -> FineTuneResult:
    """Fine-tune a classifier on a folder of photographs.

    Writes `model.keras`, `labels.txt`, `history.json`, `curves.png` and `report.md` to
    `config.output` when the run is complete. Until then its state is in `.state/` there.

    Args:
        config: the run.
        resume: whether to go on with an interrupted run in `config.output`, from its last saved
            step: weights, optimizer, random state and place in the data. Where there is none, the
            run starts from the beginning. It ends as the uninterrupted run would have.
        callbacks: Keras callbacks, such as a progress bar. Each epoch is a call of `fit`, so one
            that compares epochs, such as `EarlyStopping`, sees but one of them.
        progress: called with the number of image files checked and the number of all.

    Returns:
        A `FineTuneResult`.

    Raises:
        InputError: on data, backbone, weights or an output directory that cannot be used.
    """
    run = _Run(config, resume, progress)
    for index, phase in enumerate(run.phases):
        if index >= run.position["phase"]:
            run.train(index, phase, callbacks)
    return run.finish()


class _Run:
    """A run in progress: the model, the data and the place in both."""

    def __init__(self, config: FineTuneConfig, resume: bool, progress: Any):
        self.config = config
        self.output = Path(config.output)
        self.state_path = self.output / STATE_DIRECTORY / "state.npz"
        self.best_path = self.output / STATE_DIRECTORY / "best.npz"
        self.phases = config.phases()
        self._check(resume)
        self.folder = read_image_folder(
            config.data,
            selection_split=config.selection_split,
            val_split=config.val_split,
            seed=config.seed,
            progress=progress,
        )
        keras.utils.set_random_seed(config.seed)
        self.model = build_classifier(
            config.backbone,
            len(self.folder.classes),
            weights=config.weights,
            attention=config.attention,
            image_size=config.image_size,
            dropout=config.dropout,
            seed=config.seed,
            options=config.backbone_options,
        )
        self.state = load_arrays(self.state_path)
        self.position: dict[str, Any] = {"phase": 0, "epoch": 0, "batch": 0, "history": []}
        if self.state:
            self.position = self.state[1]
            self._check_same_run()
        else:
            self.best_path.unlink(missing_ok=True)
        for folder in (self.output, self.state_path.parent):
            for left in folder.glob(".partial-*"):
                remove(left)
        self.position["run"] = self._identity()
        self.state_path.parent.mkdir(parents=True, exist_ok=True)

    def _check(self, resume: bool) -> None:
        require("PIL", "matplotlib")
        check_writable(self.output)
        if (self.output / "report.md").exists():
            # What a kill between the last two steps of a run leaves.
            self._drop_state()
            raise InputError(
                f"{self.output} holds a finished run; remove it or choose another directory."
            )
        if self.state_path.parent.exists() and not resume:
            raise InputError(
                f"{self.output} holds an interrupted run; give --resume to go on with it, or "
                "choose another directory."
            )
        if not self.phases or self.config.batch_size < 1 or self.config.image_size < 1:
            raise InputError("Expected at least one epoch, one image a batch and one pixel.")
        if self.config.batch_norm_momentum is not None and self.config.weights != "none":
            raise InputError(
                "A batch norm momentum goes with weights 'none': with pretrained weights batch "
                "normalization keeps its statistics."
            )
        check_augmentations(self.config.augmentations, self.config.crop_area)
        check_backbone(self.config.backbone, self.config.weights, self.config.backbone_options)
        check_attention(self.config.attention)

    def _identity(self) -> dict[str, Any]:
        """What has to be the same for a run to be resumed."""
        config = asdict(replace(self.config, output="", data="", checkpoint_seconds=0))
        root = Path(self.config.data)
        sets = {name: getattr(self.folder, name) for name in ("train", "selection", "val")}
        digests = {}
        for name, images in sets.items():
            paths = "\n".join(path.relative_to(root).as_posix() for path in images.paths)
            digests[f"{name} images"] = hashlib.sha256(paths.encode()).hexdigest()[:12]
        return json.loads(json.dumps({**config, **digests, "backend": keras.config.backend()}))

    def _check_same_run(self) -> None:
        before, now = self.position["run"], self._identity()
        for name, value in now.items():
            if before.get(name) != value:
                raise InputError(
                    f"{self.output} was begun with {name} {before.get(name)}, not {value}; resume "
                    "it with the same options and data."
                )

    def train(self, index: int, phase: Phase, callbacks: Sequence[Any]) -> None:
        """Train one phase, from the saved position if the run stopped within it."""
        steps = phase.epochs * self._batches(0, 0, 0).batches_per_epoch
        compile_phase(self.model, phase, self.config, steps)
        running_metrics: list[np.ndarray] = []
        if self.state and self.position["phase"] == index:
            running_metrics = self._restore(self.state[0])
        elif index > self.position["phase"]:
            self.position.update(phase=index, epoch=0, batch=0)
        for epoch in range(self.position["epoch"], phase.epochs):
            first_batch = self.position["batch"]
            saver = SaveState(
                self.state_path,
                self.position,
                first_batch,
                self.config.checkpoint_seconds,
                running_metrics if first_batch else [],
            )
            batches = self._batches(index, epoch, first_batch)
            logs = self._fit(batches, epoch, [saver, *callbacks])
            self._end_epoch(phase, epoch, logs)

    def _fit(self, batches: ImageBatches, epoch: int, callbacks: Sequence[Any]) -> dict[str, float]:
        history = self.model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            shuffle=False,
            callbacks=list(callbacks),
            verbose=0,
        )
        return {name: float(values[-1]) for name, values in history.history.items()}

    def _end_epoch(self, phase: Phase, epoch: int, logs: dict[str, float]) -> None:
        scores = self.evaluate(self.folder.selection)
        row = {
            "phase": phase.name,
            "epoch": epoch + 1,
            **logs,
            **{f"selection_{name}": value for name, value in scores.items()},
        }
        self.position["history"].append(row)
        self._keep_best(len(self.position["history"]), scores)
        self.position.update(epoch=epoch + 1, batch=0)
        arrays = [variable.numpy() for variable in state_variables(self.model)]
        save_arrays(self.state_path, arrays, self.position)

    def _restore(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Put saved values back; return those of the running metrics, which `fit` will reset."""
        variables = state_variables(self.model)
        for variable, value in zip(variables, arrays, strict=True):
            variable.assign(value)
        return arrays[len(variables) - len(self.model.metrics_variables) :]

    def _batches(self, phase: int, epoch: int, first_batch: int) -> ImageBatches:
        return ImageBatches(
            self.folder.train,
            self.config.image_size,
            self.config.batch_size,
            training=True,
            augmentations=self.config.augmentations,
            crop_area=self.config.crop_area,
            seed=self.config.seed,
            epoch=1000 * phase + epoch,
            first_batch=first_batch,
        )

    def evaluate(self, images: Any) -> dict[str, float]:
        """Loss and accuracy on images as they are, not augmented."""
        batches = ImageBatches(images, self.config.image_size, self.config.batch_size)
        scores = self.model.evaluate(batches, return_dict=True, verbose=0)
        return {name: float(value) for name, value in scores.items()}

    def _keep_best(self, epoch: int, scores: dict[str, float]) -> None:
        best = read_description(self.best_path)
        if best is None or _rank(scores) > _rank(best):
            save_arrays(self.best_path, self.model.get_weights(), {"epoch": epoch, **scores})

    def finish(self) -> FineTuneResult:
        """Score the best weights on val, once, and write the results."""
        saved = load_arrays(self.best_path)
        if saved is None:
            raise RuntimeError(f"The best weights are missing from {self.best_path}.")
        weights, best = saved
        self.model.set_weights(weights)
        val = self.evaluate(self.folder.val)
        # Of all classes, and as many as training took, so that they fit in memory.
        some = self.folder.val.take(range(0, len(self.folder.val), self._stride()))
        sample = ImageBatches(some, self.config.image_size, self.config.batch_size)[0][0]
        record = {
            "config": asdict(self.config),
            "classes": list(self.folder.classes),
            "images": {n: len(getattr(self.folder, n)) for n in ("train", "selection", "val")},
            "skipped": [str(path) for path in self.folder.skipped],
            "parameters": self.model.count_params(),
            "epochs": self.position["history"],
            "best": best,
            "val": val,
            "gates": [asdict(moved) for moved in gate_movement(self.model, sample)],
        }
        write_outputs(self.model, self.folder, record, self.output)
        self._drop_state()
        return FineTuneResult(self.model, self.folder, record)

    def _drop_state(self) -> None:
        """Remove what this package wrote, and the directory if nothing else is in it."""
        folder = self.state_path.parent
        for path in (self.state_path, self.best_path):
            path.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _stride(self) -> int:
        return math.ceil(len(self.folder.val) / self.config.batch_size)


def _rank(scores: dict[str, float]) -> tuple[float, float]:
    return scores["accuracy"], -scores["loss"]
