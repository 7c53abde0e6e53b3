"""Fine-tuning: head and attention first, then the whole network."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_cbam.errors import InputError, require
from keras_cbam.files import remove
from keras_cbam.training.backbones import check_backbone
from keras_cbam.training.classifier import build_classifier, check_attention
from keras_cbam.training.fine_tune_config import BATCH_NORMS, HEAD_PHASE, FineTuneConfig
from keras_cbam.training.fine_tune_report import write_outputs
from keras_cbam.training.image_batches import ImageBatches, check_augmentations
from keras_cbam.training.image_folder import ImageFolder, read_image_folder
from keras_cbam.training.loop import Stage, TrainingLoop
from keras_cbam.training.measure_use import measure_use
from keras_cbam.training.output import STATE_DIRECTORY, check_output, digest
from keras_cbam.training.phases import compile_phase
from keras_cbam.training.processes import ALONE, Processes, on_its_own
from keras_cbam.training.recalibrate import first_images, recalibrate
from keras_cbam.training.recipe import dtype_policy, jit_compile
from keras_cbam.training.scores import Scorer

SETS = ("train", "selection", "val")
# Where the configuration has the rate of each group.
RATES = {
    "backbone": "learning_rate",
    "attention": "attention_learning_rate",
    "head": "head_learning_rate",
}


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
    processes: Processes = ALONE,
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
        processes: what `join_processes` returns, where several train together; they share
            `config.output`, and the first writes.

    Returns:
        A `FineTuneResult`.

    Raises:
        InputError: on data, backbone, weights or an output directory that cannot be used.
        LostProcessError: if another process is gone.
    """
    _check(config, resume, processes)
    # All have found the directory as it was before any writes to it.
    processes.wait("directory checked")
    if processes.first:
        for left in Path(config.output).glob(".partial-*"):
            remove(left)
    folder = read_image_folder(
        config.data,
        selection_split=config.selection_split,
        val_split=config.val_split,
        seed=config.seed,
        progress=progress,
    )
    batches_per_epoch = _batches(config, folder, (0, 1), 0, 0, 0).batches_per_epoch
    config = config.settled(batches_per_epoch)
    build = partial(_build, config, len(folder.classes))
    model = build()
    scorer = Scorer(model, build, config.image_size, config.batch_size, processes)
    batches = partial(_batches, config, folder, (processes.index, processes.count))
    loop = TrainingLoop(
        model,
        [
            Stage(
                phase.name,
                phase.epochs,
                partial(
                    _compile,
                    config,
                    phase.name,
                    phase.epochs * batches_per_epoch,
                    len(folder.classes),
                ),
            )
            for phase in config.phases()
        ],
        batches,
        Path(config.output) / STATE_DIRECTORY,
        _identity(config, folder),
        score=partial(_score, config, model, scorer, folder),
        checkpoint_seconds=config.checkpoint_seconds,
        processes=processes,
    )
    start = time.monotonic()
    history = loop.run(callbacks)
    seconds = time.monotonic() - start
    weights, best = loop.best()
    model.set_weights(weights)
    record = _record(config, folder, history, best, scorer, seconds)
    # With an optimizer that has no moments, which would be saved and make the file three times as
    # large, and with nothing of this package, so that Keras can load it.
    scorer.model.compile(
        "sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=jit_compile()
    )
    if processes.first:
        write_outputs(scorer.model, folder, record, Path(config.output))
    loop.drop_state()
    return FineTuneResult(scorer.model, folder, record)


def _check(config: FineTuneConfig, resume: bool, processes: Processes) -> None:
    require("PIL", "matplotlib")
    check_output(Path(config.output), resume)
    phases = config.settled(1).phases()
    if not phases or config.batch_size < 1 or config.image_size < 1:
        raise InputError("Expected at least one epoch, one image a batch and one pixel.")
    for phase in phases:
        phase.recipe.check()
    if config.batch_norm not in BATCH_NORMS:
        raise InputError(
            f"Expected batch norm of {', '.join(BATCH_NORMS)}. Received: {config.batch_norm}"
        )
    if config.batch_norm == "frozen" and config.weights == "none":
        raise InputError(
            "Expected batch norm train or recalibrate for weights 'none', which bring no "
            "statistics. Received: frozen"
        )
    if config.batch_norm != "train" and config.batch_norm_momentum is not None:
        raise InputError(
            f"A batch norm momentum goes with batch norm train. Received: {config.batch_norm}"
        )
    if config.batch_norm == "recalibrate" and processes.count > 1:
        raise InputError("Batch norm recalibrate is for one process. Expected train or frozen.")
    check_augmentations(config.augmentations, config.crop_area)
    check_backbone(config.backbone, config.weights, config.backbone_options)
    check_attention(config.attention)


def _build(config: FineTuneConfig, classes: int) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(config.dtype_policy):
        return build_classifier(
            config.backbone,
            classes,
            weights=config.weights,
            attention=config.attention,
            image_size=config.image_size,
            dropout=config.dropout,
            seed=config.seed,
            options=config.backbone_options,
        )


def _compile(
    config: FineTuneConfig,
    phase: str,
    steps: int,
    classes: int,
    model: keras.Model,
    history: list[dict[str, Any]],
) -> None:
    """Compile the model for a phase, at the rates that the phase before it asks for."""
    compile_phase(model, phase, _after(config, history, classes), steps)


def _after(config: FineTuneConfig, history: list[dict[str, Any]], classes: int) -> FineTuneConfig:
    """The run at the rates of its second phase, by the last epoch of the first."""
    rows = [row for row in history if row["phase"] == HEAD_PHASE]
    return config.adapted(1 - rows[-1]["selection_accuracy"], classes) if rows else config


def _batches(
    config: FineTuneConfig,
    folder: ImageFolder,
    shard: tuple[int, int],
    stage: int,
    epoch: int,
    first_batch: int,
) -> ImageBatches:
    return ImageBatches(
        folder.train,
        config.image_size,
        config.batch_size,
        training=True,
        augmentations=config.augmentations,
        crop_area=config.crop_area,
        seed=config.seed,
        epoch=1000 * stage + epoch,
        first_batch=first_batch,
        shard=shard,
    )


def _score(
    config: FineTuneConfig, model: keras.Model, scorer: Scorer, folder: ImageFolder
) -> dict[str, float]:
    """Score the images held out for selection."""
    if config.batch_norm == "recalibrate":
        images = _batches(config, folder, (0, 1), 0, 0, 0)
        recalibrate(model, first_images(images))
    return scorer.scores(folder.selection)


def _identity(config: FineTuneConfig, folder: ImageFolder) -> dict[str, Any]:
    """What has to be the same for a run to be resumed."""
    compared = asdict(replace(config, output="", data="", checkpoint_seconds=0))
    root = Path(config.data)
    digests = {}
    for name in SETS:
        digests[f"{name} images"] = digest(getattr(folder, name).paths, root)
    return json.loads(json.dumps({**compared, **digests, "backend": keras.config.backend()}))


def _record(
    config: FineTuneConfig,
    folder: ImageFolder,
    history: list[dict[str, Any]],
    best: dict[str, Any],
    scorer: Scorer,
    seconds: float,
) -> dict[str, Any]:
    """Score the best weights on val, once, and say what the run came to."""
    val = scorer.scores(folder.val)
    adapted = _after(config, history, len(folder.classes))
    start = time.monotonic()
    with on_its_own():
        use = measure_use(
            scorer.model,
            folder.val,
            image_size=config.image_size,
            batch_size=config.batch_size,
            steps=len(history) * math.ceil(len(folder.train) / config.batch_size),
        )
    return {
        "config": asdict(config),
        "classes": list(folder.classes),
        "images": {name: len(getattr(folder, name)) for name in SETS},
        "skipped": [str(path) for path in folder.skipped],
        "parameters": scorer.model.count_params(),
        "rates": {group: getattr(adapted, name) for group, name in RATES.items()},
        "epochs": history,
        "best": best,
        "val": val,
        "attention": None if use is None else use.record(),
        # Of this process, which may have gone on with a run that was cut off.
        "seconds": {"training": seconds, "attention_use": time.monotonic() - start},
    }
