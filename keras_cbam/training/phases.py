"""Compiling a classifier for one phase of fine-tuning: what learns, at which rate."""

from __future__ import annotations

import keras

from keras_cbam.config.fine_tune import WHOLE_PHASE, FineTuneConfig
from keras_cbam.config.fine_tune_defaults import SHORT_MOMENTUM
from keras_cbam.surgery.freeze import freeze_backbone
from keras_cbam.training.classifier import HEAD
from keras_cbam.training.group_rates import group_variables
from keras_cbam.training.recalibrate import backbone_norms, batch_norms
from keras_cbam.training.recipe import compile_model


def compile_phase(model: keras.Model, phase: str, config: FineTuneConfig, steps: int) -> None:
    """Choose the layers that learn, and compile the model with all its training variables.

    Args:
        model: what `build_classifier` gives.
        phase: the name of the phase.
        config: the run, with its rates.
        steps: batches of the whole phase, over which the learning rate decays.
    """
    if phase == WHOLE_PHASE:
        _train_whole(model, config)
    else:
        freeze_backbone(model, head=[HEAD])
    for normalization in batch_norms(model):
        normalization.momentum = _momentum(normalization, config)
    compile_model(model, config.recipe(phase), steps, group_variables(model, [HEAD]))


def _train_whole(model: keras.Model, config: FineTuneConfig) -> None:
    """Let all layers learn, but for batch normalization that is frozen."""
    for layer in model.layers:
        # TensorFlow ignores `trainable` where it is set to what it is, so it is False first.
        layer.trainable = False
        layer.trainable = True
    if config.batch_norm == "frozen":
        for normalization in backbone_norms(model):
            normalization.trainable = False


def _momentum(layer: keras.layers.BatchNormalization, config: FineTuneConfig) -> float:
    """The momentum of a layer; the same however often it is asked for."""
    if config.batch_norm_momentum is not None:
        return config.batch_norm_momentum
    return min(SHORT_MOMENTUM, layer.momentum)
