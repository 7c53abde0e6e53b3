"""Read folders of images as arrays for an export."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.model_images import image_shape, model_pixels
from keras_cbam.cli.terminal import tell_skipped
from keras_cbam.training import ImageSet, find_images


def verification_pixels(
    folder: Path | None, model: keras.Model, labels: list[str] | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return all images of a folder, and their labels if its class folders are the model's."""
    if folder is None:
        return None, None
    # Check the model before the images are decoded.
    image_shape(model)
    images = _find(folder, labels)
    known = labels is not None and (images.labels >= 0).all()
    return model_pixels(images, model), images.labels if known else None


def calibration_pixels(folder: Path | None, model: keras.Model, count: int) -> np.ndarray | None:
    """Return `count` images of a folder at most, drawn at random."""
    if folder is None:
        return None
    image_shape(model)
    images = _find(folder, None)
    order = np.random.default_rng(0).permutation(len(images))
    return model_pixels(images.take(order[:count]), model)


def _find(folder: Path, labels: list[str] | None) -> ImageSet:
    images, skipped = find_images(folder, labels)
    tell_skipped(skipped)
    return images
