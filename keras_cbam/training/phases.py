"""Compiling a classifier for one phase of fine-tuning: what learns, at which rate."""

from __future__ import annotations

import keras
import numpy as np

from keras_cbam.training.classifier import HEAD
from keras_cbam.training.fine_tune_config import FineTuneConfig, Phase


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
    schedule = keras.optimizers.schedules.CosineDecay(phase.learning_rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        # XLA on a CPU has no fast depthwise convolution: 4 to 15 times slower than oneDNN.
        jit_compile="auto" if keras.config.backend() == "jax" else False,
    )
    _build_training_state(model)


def _learns(layer: keras.layers.Layer, config: FineTuneConfig) -> bool:
    """Whether a layer is trained with the whole network."""
    pretrained = config.weights != "none"
    return not (pretrained and isinstance(layer, keras.layers.BatchNormalization))


def _build_training_state(model: keras.Model) -> None:
    """Create the optimizer's and the metrics' variables now, not in the first step of `fit`.

    There TensorFlow would trace the step a second time, and JAX and PyTorch would take a batch out
    of the queue of `ImageBatches`, which then goes on with the second one. Variables that exist can
    also be restored.
    """
    model.optimizer.build(model.trainable_variables)
    classes = model.output.shape[-1]
    probabilities = np.full((1, classes), 1 / classes, "float32")
    model.compute_loss(y=np.zeros(1, "int32"), y_pred=probabilities)
    model.compute_metrics(None, np.zeros(1, "int32"), probabilities)
    model.reset_metrics()
