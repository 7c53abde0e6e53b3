"""Folders of images as arrays for an export."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.terminal import tell_skipped
from keras_cbam.errors import InputError
from keras_cbam.training import ImageBatches, ImageSet, find_images


def verification_pixels(
    folder: Path | None, model: keras.Model, labels: list[str] | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """All images of a folder, and their classes where the folder's are the model's."""
    if folder is None:
        return None, None
    images = _find(folder, labels)
    known = labels is not None and (images.labels >= 0).all()
    return read_images(images, image_size(model)), images.labels if known else None


def calibration_pixels(folder: Path | None, model: keras.Model, count: int) -> np.ndarray | None:
    """Some images of a folder, drawn at random."""
    if folder is None:
        return None
    images = _find(folder, None)
    order = np.random.default_rng(0).permutation(len(images))
    return read_images(images.take(order[:count]), image_size(model))


def image_size(model: keras.Model) -> int:
    """The side of the square RGB images that a model takes."""
    shape = tuple(model.inputs[0].shape)
    square = len(shape) == 4 and shape[1] is not None and shape[1] == shape[2]
    if len(model.inputs) != 1 or not square or shape[3] != 3:
        raise InputError(
            f"Expected a model of one square RGB image, (None, size, size, 3). Received: {shape}"
        )
    return shape[1]


def _find(folder: Path, labels: list[str] | None) -> ImageSet:
    images, skipped = find_images(folder, labels)
    tell_skipped(skipped)
    return images


def read_images(images: ImageSet, size: int) -> np.ndarray:
    """The images as `(images, size, size, 3)` RGB float32 in 0..255."""
    batches = ImageBatches(images, size)
    return np.concatenate([batches[index][0] for index in range(len(batches))])
