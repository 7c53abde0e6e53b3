"""Statistics of batch normalization, estimated anew over images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras

from keras_cbam.surgery.addresses import layers_inside, walk
from keras_cbam.training.image_batches import ImageBatches

# So many images settle the mean of a batch statistic.
IMAGES = 320


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return all batch normalization of a model, that inside attention layers too."""
    inside = (each for _, layer in walk(model) for each in layers_inside(layer))
    return [each for each in inside if isinstance(each, keras.layers.BatchNormalization)]


def recalibrate(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the moving statistics of trained batch normalization to the mean of batch statistics.

    All layers are estimated at once, each on what the others, normalizing by the batch, give it:
    the conditions of training (Wu and Johnson 2021, arXiv 2105.07576, section 3).

    Args:
        model: the model; layers of batch normalization that are frozen keep their statistics.
        batches: of images, `(batch, height, width, 3)`.
    """
    layers = [layer for layer in batch_norms(model) if layer.trainable]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    try:
        for number, images in enumerate(batches):
            for layer in layers:
                # The mean of so many batches, from the mean of one fewer.
                layer.momentum = number / (number + 1)
            model(images, training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def first_images(dataset: ImageBatches, images: int = IMAGES) -> Iterable[Any]:
    """Yield the inputs of a dataset's first batches, until there are at least so many."""
    for index in range(min(math.ceil(images / dataset.batch_size), len(dataset))):
        yield dataset[index][0]
