"""Compiling a classifier for one phase of fine-tuning: what learns, at which rate."""

from __future__ import annotations

import keras

from keras_cbam.layers import AttentionLayer
from keras_cbam.training.classifier import HEAD
from keras_cbam.training.fine_tune_config import HEAD_PHASE, FineTuneConfig
from keras_cbam.training.group_rates import group_variables
from keras_cbam.training.recalibrate import batch_norms
from keras_cbam.training.recipe import compile_model

# Momentum of batch normalization in runs of a few hundred steps.
SHORT_MOMENTUM = 0.9


def compile_phase(model: keras.Model, phase: str, config: FineTuneConfig, steps: int) -> None:
    """Choose the layers that learn, and compile the model with all its training variables.

    Args:
        model: what `build_classifier` gives.
        phase: the name of the phase.
        config: the run, settled, at the rates of the phase.
        steps: batches of the whole phase, over which the learning rate decays.
    """
    for layer in model.layers:
        layer.trainable = _learns(layer, phase, config)
    for normalization in batch_norms(model):
        normalization.momentum = _momentum(normalization, config)
    compile_model(model, config.recipe(), steps, group_variables(model, HEAD))


def _learns(layer: keras.layers.Layer, phase: str, config: FineTuneConfig) -> bool:
    """Whether a layer is trained in a phase."""
    if phase == HEAD_PHASE:
        return layer.name in HEAD or isinstance(layer, AttentionLayer)
    frozen = config.batch_norm == "frozen"
    return not (frozen and isinstance(layer, keras.layers.BatchNormalization))


def _momentum(layer: keras.layers.BatchNormalization, config: FineTuneConfig) -> float:
    """The momentum of a layer; the same however often it is asked for."""
    if config.batch_norm_momentum is not None:
        return config.batch_norm_momentum
    return min(SHORT_MOMENTUM, layer.momentum)
