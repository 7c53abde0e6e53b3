"""Check the configuration of a fine-tuning run, before anything is written."""

from __future__ import annotations

from pathlib import Path

from keras_cbam.config.fine_tune import BATCH_NORMS, TRAINS, FineTuneConfig
from keras_cbam.errors import InputError, check_choice, check_share, require
from keras_cbam.training.backbones import check_backbone
from keras_cbam.training.classifier import check_attention
from keras_cbam.training.image_batches import check_augmentations
from keras_cbam.training.output import check_output
from keras_cbam.training.processes import Processes


def check_run(config: FineTuneConfig, resume: bool, processes: Processes) -> None:
    """Raise an `InputError` if the run is not possible."""
    require("PIL", "matplotlib")
    check_output(Path(config.output), resume)
    _check_adapter(config)
    settled = config.settled(1)
    # Without an epoch, the run keeps the logistic regression, which needs pretrained weights.
    trains = settled.phases() or config.weights != "none"
    if not trains or config.batch_size < 1 or config.image_size < 1:
        raise InputError("Expected at least one epoch, one image per batch and one pixel.")
    settled.rated(None, 1, 2).recipe().check()
    if config.batch_norm is not None:
        check_choice("batch norm", config.batch_norm, BATCH_NORMS)
    if config.batch_norm == "frozen" and config.weights == "none":
        raise InputError(
            "Expected batch norm train or recalibrate for weights 'none', which bring no "
            "statistics. Received: frozen"
        )
    if config.batch_norm not in (None, "train") and config.batch_norm_momentum is not None:
        raise InputError(
            f"A batch norm momentum goes with batch norm train. Received: {config.batch_norm}"
        )
    if config.batch_norm == "recalibrate" and processes.count > 1:
        raise InputError("Batch norm recalibrate is for one process. Expected train or frozen.")
    if config.batch_norm_momentum is not None:
        check_share("a batch norm momentum", config.batch_norm_momentum)
    if config.epochs == 0 and (config.learning_rate, config.batch_norm) != (None, None):
        raise InputError(
            "A learning rate and the batch normalization of the backbone are for a run that trains "
            "it. Received: epochs 0"
        )
    check_augmentations(config.augmentations, config.crop_area)
    check_backbone(config.backbone, config.weights, config.backbone_options)
    check_attention(config.attention, config.attention_learning_rate, config.points)


def _check_adapter(config: FineTuneConfig) -> None:
    """Raise an `InputError` for options that do not go with an adapter."""
    check_choice("train", config.train, TRAINS)
    if config.train != "adapter":
        return
    if config.weights == "none":
        raise InputError("An adapter is for a backbone with weights. Received: weights none")
    # Options for a run that trains the whole network.
    for name in ("learning_rate", "head_epochs", "batch_norm"):
        if (value := getattr(config, name)) is not None:
            raise InputError(
                f"An adapter leaves the backbone as it is, and learns in one phase, so it has no "
                f"{name.replace('_', ' ')}. Received: {value}"
            )
