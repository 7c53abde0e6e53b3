"""Compile a classifier for one phase of fine-tuning: trainable layers and learning rates."""

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
    """Set the trainable layers, and compile the model with all its training variables.

    Args:
        model: a model of `build_classifier`.
        phase: the name of the phase.
        config: the configuration of the run, with its learning rates.
        steps: number of batches in the whole phase, over which the learning rate decays.
    """
    if phase == WHOLE_PHASE:
        frozen = backbone_norms(model) if config.batch_norm == "frozen" else []
        for layer in model.layers:
            # TensorFlow ignores setting `trainable` to the value it has, so set it to False first.
            layer.trainable = False
            layer.trainable = layer not in frozen
    else:
        freeze_backbone(model, head=[HEAD])
    momentum = config.batch_norm_momentum
    for norm in batch_norms(model):
        # Repeated calls set the same value.
        norm.momentum = min(SHORT_MOMENTUM, norm.momentum) if momentum is None else momentum
    compile_model(model, config.recipe(phase), steps, group_variables(model, [HEAD]))
