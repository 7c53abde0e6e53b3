"""Compiling a classifier for one phase of fine-tuning: what learns, at which rate."""

from __future__ import annotations

import keras

from keras_cbam.training.classifier import HEAD
from keras_cbam.training.fine_tune_config import FineTuneConfig, Phase
from keras_cbam.training.recipe import compile_model


def compile_phase(model: keras.Model, phase: Phase, config: FineTuneConfig, steps: int) -> None:
    """Choose the layers that learn, and compile the model with all its training variables.

    Args:
        model: what `build_classifier` gives.
        phase: the phase.
        config: the run.
        steps: batches of the whole phase, over which the learning rate decays.
    """
    for layer in model.layers:
        layer.trainable = layer.name in HEAD if phase.name == "head" else _learns(layer, config)
        normalizes = isinstance(layer, keras.layers.BatchNormalization)
        if normalizes and config.batch_norm_momentum is not None:
            layer.momentum = config.batch_norm_momentum
    compile_model(model, phase.recipe, steps)


def _learns(layer: keras.layers.Layer, config: FineTuneConfig) -> bool:
    """Whether a layer is trained with the whole network."""
    pretrained = config.weights != "none"
    return not (pretrained and isinstance(layer, keras.layers.BatchNormalization))
