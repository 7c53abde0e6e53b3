"""Fine-tuning: head and attention first, then the whole network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.errors import InputError
from keras_cbam.files import remove_abandoned
from keras_cbam.surgery.freeze import freeze_backbone
from keras_cbam.surgery.gate_start import start_gates
from keras_cbam.surgery.plan import Factory
from keras_cbam.training.classifier import HEAD, build_classifier
from keras_cbam.training.fine_tune_check import check_run
from keras_cbam.training.fine_tune_report import SETS, run_record, write_outputs
from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import ImageFolder, read_image_folder
from keras_cbam.training.linear_probe import linear_probe
from keras_cbam.training.loop import Stage, TrainingLoop
from keras_cbam.training.output import STATE_DIRECTORY, digest, identity
from keras_cbam.training.phases import compile_phase
from keras_cbam.training.processes import ALONE, Processes, on_its_own
from keras_cbam.training.recalibrate import backbone_norms, first_images, recalibrate
from keras_cbam.training.recipe import dtype_policy, jit_compile
from keras_cbam.training.scores import Scorer, within_chance


@dataclass(frozen=True)
class FineTuneResult:
    """The result of a run.

    Attributes:
        model: the Keras model with the kept weights.
        folder: the images, split.
        record: the content of `history.json`: the configuration, the learning rates, the scores of
            the start, of every epoch and of the kept weights, and what the attention is worth.
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
    factory: Factory | None = None,
) -> FineTuneResult:
    """Fine-tune a classifier on a folder of images.

    When the run is complete, it writes `model.keras`, `labels.txt`, `history.json`, `curves.png`
    and `report.md` to `config.output`, and `adapter.npz` if it trained an adapter. Until then,
    `.state/` in that directory holds the state of the run.

    Args:
        config: the configuration of the run.
        resume: whether to resume an interrupted run in `config.output` from its last saved step:
            weights, optimizer, random state and position in the data. If there is none, the run
            starts from the beginning. It ends as the uninterrupted run would have.
        callbacks: Keras callbacks, such as a progress bar. Each epoch is a separate call of `fit`,
            so a callback that compares epochs, such as `EarlyStopping`, sees only one of them.
        progress: called with the number of checked image files and the number of all.
        processes: the result of `join_processes`, if several processes train together. They share
            `config.output`, and only the first one writes to it.
        factory: a factory of the layers at the attention points, as `attach_attention` takes it, in
            place of an attention by name. Requires attention `"none"`.

    Returns:
        A `FineTuneResult`. Its model is compiled, for evaluation.

    Raises:
        InputError: if the data, backbone, weights or output directory cannot be used.
        LostProcessError: if another process is gone.
    """
    check_run(config, resume, processes)
    if factory is not None and config.attention != "none":
        raise InputError(f"A factory goes with attention none. Received: {config.attention}")
    # Wait until all processes have checked the directory, before any of them writes to it.
    processes.wait("directory checked")
    if processes.first:
        remove_abandoned(config.output)
    folder = read_image_folder(
        config.data,
        selection_split=config.selection_split,
        val_split=config.val_split,
        seed=config.seed,
        progress=progress,
    )
    folder = folder.balanced() if config.balance else folder
    shard = (processes.index, processes.count)
    batches_per_epoch = _batches(config, folder, shard).batches_per_epoch
    config = config.settled(batches_per_epoch)
    build = partial(_build, config, len(folder.classes), factory)
    model = build()
    scorer = Scorer(model, build, config.image_size, config.batch_size, processes)
    batches = partial(_batches, config, folder, shard)
    root = Path(config.data)
    image_digests = {f"{name} images": digest(getattr(folder, name).paths, root) for name in SETS}
    loop = TrainingLoop(
        model,
        _stages(config, batches_per_epoch, folder),
        batches,
        Path(config.output) / STATE_DIRECTORY,
        identity(config, image_digests),
        start=None if config.weights == "none" else partial(_start, config, scorer, folder),
        score=partial(_score, config, scorer, folder),
        tied=partial(within_chance, images=len(folder.selection)),
        checkpoint_seconds=config.checkpoint_seconds,
        processes=processes,
    )
    began = time.monotonic()
    loop.run(callbacks)
    seconds = time.monotonic() - began
    weights, best = loop.best()
    model.set_weights(weights)
    record = run_record(
        _rated(config, loop.position.get("start"), folder, scorer.model),
        folder,
        scorer,
        position=loop.position,
        best=best,
        seconds=seconds,
        batches_per_epoch=batches_per_epoch,
    )
    with on_its_own():
        # SGD has no moments; those of Adam would make the file three times as large. Compile with
        # nothing of this package, so that Keras alone can load the file.
        scorer.model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=jit_compile(),
        )
    if processes.first:
        write_outputs(scorer.model, folder, record, Path(config.output))
    loop.drop_state()
    return FineTuneResult(scorer.model, folder, record)


def _build(config: FineTuneConfig, classes: int, factory: Factory | None) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(config.dtype_policy):
        model = build_classifier(
            config.backbone,
            classes,
            weights=config.weights,
            attention=factory or config.attention,
            points=config.points,
            image_size=config.image_size,
            dropout=config.dropout,
            seed=config.seed,
            options=config.backbone_options,
        )
    if config.train == "adapter":
        freeze_backbone(model, head=[HEAD])
    return model


def _stages(config: FineTuneConfig, batches_per_epoch: int, folder: ImageFolder) -> list[Stage]:
    """Return the phases as stages of the loop."""

    def stage(phase: str, epochs: int) -> Stage:
        def compiled(model: keras.Model, start: dict[str, float] | None) -> None:
            rated = _rated(config, start, folder, model)
            compile_phase(model, phase, rated, epochs * batches_per_epoch)

        return Stage(phase, epochs, compiled)

    return [stage(phase, epochs) for phase, epochs in config.phases().items()]


def _rated(
    config: FineTuneConfig, start: dict[str, float] | None, folder: ImageFolder, model: keras.Model
) -> FineTuneConfig:
    """Return the run with the learning rates and batch normalization that fit its start."""
    error = None if start is None else 1 - start["accuracy"]
    norms = bool(backbone_norms(model))
    return config.rated(error, len(folder.selection), len(folder.classes), norms)


def _batches(
    config: FineTuneConfig,
    folder: ImageFolder,
    shard: tuple[int, int] = (0, 1),
    stage: int = 0,
    epoch: int = 0,
    first_batch: int = 0,
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


@contextmanager
def _start(config: FineTuneConfig, scorer: Scorer, folder: ImageFolder) -> Iterator[None]:
    """Fit the gates to training images. Within the context, the head is a linear probe."""
    model, own = scorer.trained, scorer.model
    new = scorer.processes.first_of(own.get_layer(HEAD).get_weights())
    with on_its_own():
        images = first_images(_batches(config, folder))
        if config.batch_norm == "recalibrate":
            recalibrate(own, images, batch_size=config.batch_size)
        start_gates(own, images, batch_size=config.batch_size)
        own.get_layer(HEAD).set_weights(linear_probe(scorer, folder.train, config.seed))
    if model is not own:
        model.set_weights(scorer.processes.first_of(own.get_weights()))
    yield
    # Train a new head: the probe fits the training images, so the backbone would learn little.
    model.get_layer(HEAD).set_weights(new)


def _score(config: FineTuneConfig, scorer: Scorer, folder: ImageFolder) -> dict[str, float]:
    """Score the images held out for selection."""
    if config.batch_norm == "recalibrate":
        images = first_images(_batches(config, folder))
        recalibrate(scorer.trained, images, batch_size=config.batch_size)
    return scorer.scores(folder.selection)
