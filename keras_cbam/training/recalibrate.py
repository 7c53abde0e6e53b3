"""Estimate the statistics of batch normalization again, over given images."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_cbam.surgery.addresses import layers_inside, walk
from keras_cbam.surgery.use_inputs import rows_of

# This many images give a stable mean of a batch statistic.
IMAGES = 320


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return all batch normalization layers of a model, including those inside attention layers."""
    inside = (each for _, layer in walk(model) for each in layers_inside(layer))
    return [each for each in inside if isinstance(each, keras.layers.BatchNormalization)]


def backbone_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch normalization layers of the model itself, without those of attention."""
    return [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]


def recalibrate(model: keras.Model, inputs: Any, *, batch_size: int = 32) -> None:
    """Set the moving averages of trainable batch normalization to those of new images, in place.

    All layers are estimated at once. They normalize by the batch meanwhile, so each layer sees the
    inputs that it sees in training (Wu and Johnson 2021, arXiv 2105.07576, section 3).

    Args:
        model: a built `keras.Model`, on any backend. Batch normalization whose `trainable` is
            `False` keeps its averages.
        inputs: the inputs of the model, `(images, height, width, channels)` or channels_first, as
            an array or a structure of arrays, or a `keras.utils.PyDataset` of such batches. About
            300 images, augmented as in training, are enough.
        batch_size: images that are normalized together. Use the batch size of training. Defaults
            to `32`.

    Raises:
        ValueError: if there are no inputs.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
        >>> images = np.random.uniform(size=(64, 8, 8, 3))
        >>> recalibrate(model, images)
        >>> np.allclose(model.layers[-1].moving_mean, images.mean((0, 1, 2)), atol=1e-6)
        True
    """
    layers = [layer for layer in batch_norms(model) if layer.trainable]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    number = -1
    try:
        for number, images in enumerate(rows_of(inputs, batch_size)):
            for layer in layers:
                # Update the running mean over batches: all batches have the same weight.
                layer.momentum = number / (number + 1)
            model(images, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if number < 0:
        raise ValueError("Expected at least one input. Received none")


def first_images(dataset: Any, images: int = IMAGES) -> np.ndarray:
    """Return the images of a dataset's first batches, `(images, height, width, 3)`.

    Args:
        dataset: a `keras.utils.PyDataset` with a `batch_size`, such as `ImageBatches`.
        images: smallest number of images to return, if the dataset has as many.
    """
    count = min(math.ceil(images / dataset.batch_size), len(dataset))
    return np.concatenate([dataset[index][0] for index in range(count)])
