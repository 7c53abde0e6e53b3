"""Training of a detector on photographs with boxes, scored by COCO's metrics after each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from keras_cbam.config.detection import DetectionConfig
from keras_cbam.detection.anchors import SIZES, choose_anchor_size
from keras_cbam.detection.augmentation import NO_BOX, check_augmentations
from keras_cbam.detection.batches import DetectionBatches
from keras_cbam.detection.detector import build_detector, check_image_size
from keras_cbam.detection.folder import DetectionFolder, read_detection_folder
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.predict import Predictor
from keras_cbam.detection.report import write_outputs
from keras_cbam.detection.use import detector_use
from keras_cbam.errors import InputError, require
from keras_cbam.files import remove_abandoned
from keras_cbam.surgery.gate_start import start_gates
from keras_cbam.training.backbones import check_backbone
from keras_cbam.training.classifier import check_attention
from keras_cbam.training.group_rates import group_variables
from keras_cbam.training.loop import Stage, TrainingLoop
from keras_cbam.training.output import STATE_DIRECTORY, check_output, digest, identity
from keras_cbam.training.recalibrate import first_images
from keras_cbam.training.recipe import dtype_policy, jit_compile, optimizer

Metrics = dict[str, float | None]
# KerasHub's name for the network below the pyramid.
ENCODER = "backbone"
# Number of training images from which `start_gates` starts the gates.
START_IMAGES = 128


@dataclass(frozen=True)
class DetectionResult:
    """Result of a training run.

    Attributes:
        detector: the detector with the best weights by mAP on val, compiled with KerasHub's
            defaults.
        folder: the data set.
        record: content of `history.json`: configuration, epochs, best epoch and scores.
    """

    detector: keras.Model
    folder: DetectionFolder
    record: dict[str, Any]


def train_detector(
    config: DetectionConfig,
    *,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: Callable[[int, int], None] | None = None,
    scored: Callable[[Metrics], None] | None = None,
) -> DetectionResult:
    """Train KerasHub's RetinaNet with attention in its backbone.

    A complete run writes `model.keras`, `labels.txt`, `history.json`, `curves.png`,
    `predictions.png` and `report.md` to `config.output`. Until then its state is in `.state/`
    there.

    Args:
        config: configuration of the run.
        resume: whether to resume an interrupted run in `config.output` from its last saved step.
            The resumed run ends as the uninterrupted run would have. If there is no such run,
            training starts from the beginning.
        callbacks: Keras callbacks, such as a progress bar. Each epoch is one call of `fit`.
        progress: called for each split with the number of images checked so far and the number of
            all its images.
        scored: called after each epoch with the metrics on val.

    Returns:
        A `DetectionResult`.

    Raises:
        InputError: on data, backbone, weights or an output directory that cannot be used.
    """
    _check(config, resume)
    remove_abandoned(config.output)
    folder = read_detection_folder(
        config.data, ("train", "val"), val_split=config.val_split, progress=progress
    )
    train, val = folder["train"], folder["val"]
    sizes = SIZES if config.anchor_size is None else (config.anchor_size,)
    anchor_size, covered = choose_anchor_size(train.photographs, config.image_size, sizes)
    detector = _build(config, len(folder.classes), anchor_size)
    predictor = Predictor(detector, config.batch_size)

    def score() -> Any:
        metrics = coco_metrics(val.photographs, predictor(val.photographs), folder.classes)
        if scored:
            scored(metrics)
        return metrics

    def batches(stage: int, epoch: int, first_batch: int) -> DetectionBatches:
        return DetectionBatches(
            train.photographs,
            config.image_size,
            config.batch_size,
            augmentations=config.augmentations,
            seed=config.seed,
            epoch=epoch,
            first_batch=first_batch,
        )

    steps = config.epochs * batches(0, 0, 0).batches_per_epoch
    loop = TrainingLoop(
        detector,
        [Stage("whole", config.epochs, lambda model, _: compile_detector(model, config, steps))],
        batches,
        Path(config.output) / STATE_DIRECTORY,
        identity(config, _digests(config, folder)),
        score=score,
        rank=lambda scores: (scores["mAP"] or 0.0, scores["mAP50"] or 0.0),
        checkpoint_seconds=config.checkpoint_seconds,
    )
    # Not within the loop's `start`, which would score the detector: a new head finds nothing.
    if loop.state is None and config.weights != "none":
        images = first_images(batches(0, 0, 0), START_IMAGES)
        start_gates(detector, images, batch_size=config.batch_size)
    history = loop.run(callbacks)
    weights, best = loop.best()
    detector.set_weights(weights)
    # Compiled as KerasHub's constructor does. A trained optimizer's state would be saved, but it
    # could not be loaded.
    detector.compile()
    record = {
        "config": asdict(config),
        "classes": list(folder.classes),
        "splits": {name: part.described() for name, part in folder.splits.items()},
        "anchor_size": anchor_size,
        "boxes_with_an_anchor": covered,
        "parameters": detector.count_params(),
        "epochs": history,
        "best": best,
        "attention": detector_use(predictor, val.photographs, folder.classes, best["mAP"] or 0.0),
    }
    write_outputs(detector, predictor, folder, record, Path(config.output))
    loop.drop_state()
    return DetectionResult(detector, folder, record)


def compile_detector(detector: keras.Model, config: DetectionConfig, steps: int) -> None:
    """Choose the trainable layers, compile the detector, and create its training variables.

    The losses are KerasHub's focal loss for the classes and, as in torchvision, the absolute error
    for the boxes.

    Args:
        detector: a detector that `retinanet` built.
        config: configuration of the run.
        steps: number of batches of the whole run, over which the learning rate decays.
    """
    if config.weights != "none":
        for layer in detector.backbone.get_layer(ENCODER).layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    detector.compile(
        optimizer=optimizer(config.recipe, steps, group_variables(detector, ())),
        box_loss=keras.losses.MeanAbsoluteError(reduction="sum"),
        jit_compile=jit_compile(),
    )
    # A saved state can only be restored into variables that exist.
    detector.optimizer.build(detector.trainable_variables)
    images = keras.ops.zeros((1, *detector.inputs[0].shape[1:]))
    nothing = {
        "boxes": keras.ops.full((1, 1, 4), float(NO_BOX)),
        "labels": keras.ops.full((1, 1), float(NO_BOX)),
    }
    detector.compute_loss(x=images, y=nothing, y_pred=detector(images), sample_weight=None)
    detector.reset_metrics()


def _check(config: DetectionConfig, resume: bool) -> None:
    require("keras_hub", "pycocotools", "PIL", "matplotlib")
    check_output(Path(config.output), resume)
    if config.epochs < 1 or config.batch_size < 1 or config.head_layers < 0:
        raise InputError(
            "Expected at least one epoch, one image per batch and 0 head layers. "
            f"Received: {config.epochs}, {config.batch_size} and {config.head_layers}"
        )
    if config.anchor_size is not None and not config.anchor_size > 0:
        raise InputError(f"Expected an anchor size above 0. Received: {config.anchor_size}")
    check_image_size(config.image_size)
    config.recipe.check()
    check_augmentations(config.augmentations)
    check_backbone(config.backbone, config.weights, config.backbone_options)
    check_attention(config.attention, config.attention_learning_rate)


def _build(config: DetectionConfig, classes: int, anchor_size: float) -> keras.Model:
    keras.utils.set_random_seed(config.seed)
    with dtype_policy(config.dtype_policy):
        return build_detector(
            config.backbone,
            classes,
            weights=config.weights,
            attention=config.attention,
            image_size=config.image_size,
            anchor_size=anchor_size,
            head_layers=config.head_layers,
            seed=config.seed,
            options=config.backbone_options,
        )


def _digests(config: DetectionConfig, folder: DetectionFolder) -> dict[str, Any]:
    """Return digests that identify the images and boxes of a run."""
    digests: dict[str, Any] = {"classes": list(folder.classes)}
    for name, part in folder.splits.items():
        paths = (image.path for image in part.photographs)
        digests[f"{name} images"] = digest(paths, Path(config.data))
        boxes = hashlib.sha256()
        for image in part.photographs:
            for values in (image.boxes, image.labels, image.crowd):
                boxes.update(values.tobytes() + b"|")
        digests[f"{name} boxes"] = boxes.hexdigest()[:12]
    return digests
