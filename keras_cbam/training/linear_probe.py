"""A linear probe: a logistic regression on the features of the backbone."""

from __future__ import annotations

import keras
import numpy as np

from keras_cbam.surgery.use_inputs import evenly_spaced
from keras_cbam.training.classifier import FEATURES
from keras_cbam.training.image_folder import ImageSet
from keras_cbam.training.recipe import jit_compile
from keras_cbam.training.scores import Scorer

MOST_IMAGES = 10_000
STEPS = 300
RATE = 0.05
# The penalty on squared weights times the number of images: scikit-learn's 1 / (2 C) for C = 0.1.
DECAY = 5.0


def linear_probe(scorer: Scorer, images: ImageSet, seed: int) -> list[np.ndarray]:
    """Fit a logistic regression on frozen features, and return it as the weights of the head.

    Its accuracy shows how well the features suit the task.

    Args:
        scorer: the scorer of a model of `build_classifier`.
        images: the images to train on, without augmentation. If there are more than `MOST_IMAGES`,
            evenly spaced ones are used.
        seed: seed of the regression's initial weights.

    Returns:
        Kernel `(features, classes)` and bias `(classes,)`.
    """
    some = images.take(evenly_spaced(len(images), MOST_IMAGES))
    model = scorer.model
    backbone = keras.Model(model.inputs, model.get_layer(FEATURES).output)
    features = np.asarray(backbone.predict(scorer.batches(some), verbose=0), "float64")
    mean, spread = features.mean(0), features.std(0) + 1e-6
    kernel, bias = _regression((features - mean) / spread, some, model.output.shape[-1], seed)
    kernel = kernel / spread[:, None]
    return [kernel.astype("float32"), (bias - mean @ kernel).astype("float32")]


def _regression(
    features: np.ndarray, images: ImageSet, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression with a penalty on the kernel by Adam; return kernel and bias."""
    count = len(features)
    dense = keras.layers.Dense(
        classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        kernel_regularizer=keras.regularizers.L2(DECAY / count),
        dtype="float32",
    )
    inputs = keras.Input((features.shape[1],))
    regression = keras.Model(inputs, dense(inputs))
    regression.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, STEPS)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile(),
    )
    features = keras.ops.convert_to_tensor(features, "float32")
    labels = keras.ops.convert_to_tensor(images.labels)
    weights = None if images.weights is None else keras.ops.convert_to_tensor(images.weights)
    # `fit` would build a new data pipeline for each step.
    for _ in range(STEPS):
        regression.train_on_batch(features, labels, weights)
    kernel, bias = dense.get_weights()
    return kernel.astype("float64"), bias.astype("float64")
