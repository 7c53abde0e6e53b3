"""Read images as the pixels that a model takes: its height and width, in color or gray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.terminal import tell_skipped
from keras_cbam.errors import InputError
from keras_cbam.image_files import check_name
from keras_cbam.image_reader import DETAIL, central, read_image
from keras_cbam.pixels import named_rule, preprocessed
from keras_cbam.training import ImageSet, decodable, find_images

# The shares of red, green and blue in gray, by ITU-R 601-2.
GRAY = (0.299, 0.587, 0.114)


def image_shape(model: keras.Model) -> tuple[int, int, int]:
    """Return height, width and channels of the image that a model takes.

    Raises:
        InputError: if the model does not take one image of a fixed size, in color or gray.
    """
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    fixed = len(shapes) == 1 and len(shapes[0]) == 4 and None not in shapes[0][1:]
    if not fixed or shapes[0][3] not in (1, 3):
        raise InputError(
            "Expected a model of one image, (None, height, width, 3) or (None, height, width, 1). "
            f"Received: {', '.join(map(str, shapes))}"
        )
    height, width, channels = shapes[0][1:]
    return height, width, channels


def model_pixels(images: ImageSet, model: keras.Model) -> np.ndarray:
    """Return the images as `(images, height, width, channels)` float32 in 0..255, RGB or gray.

    The largest central crop of each image with the aspect ratio of the model's input is resized.
    """
    height, width, channels = image_shape(model)
    crop = central(width / height)
    pixels = np.stack(
        [
            np.asarray(read_image(images.source(index), (height, width), crop, DETAIL), "float32")
            for index in range(len(images))
        ]
    )
    return pixels if channels == 3 else pixels @ np.asarray(GRAY, "float32")[:, None]


def images_in(paths: Sequence[Path]) -> list[Path]:
    """Return the given images, and those below given folders. Tell those that cannot be decoded.

    Raises:
        InputError: if no image can be decoded, or none in one of the folders; or if a name is not
            UTF-8.
    """
    files = [path for path in paths if not path.is_dir()]
    for path in files:
        check_name(path)
    good, undecodable = decodable(files)
    decoded, skipped = set(good), list(undecodable)
    kept: list[Path] = []
    for path in paths:
        if path.is_dir():
            images, wrong = find_images(path)
            kept += images.paths
            skipped += wrong
        elif path in decoded:
            kept.append(path)
    tell_skipped(skipped)
    if not kept:
        raise InputError("None of the images can be decoded.")
    return kept


def pixel_function(
    preprocessing: str | None, model: keras.Model
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function from pixels to a model's inputs, by the name of a rule, or `None`.

    Raises:
        InputError: on an unknown name, or a rule of three colors for a model of gray images.
    """
    rule = named_rule(preprocessing) if preprocessing else None
    if preprocessing is None or rule is None:
        return None
    if image_shape(model)[2] == 3:
        return lambda pixels: preprocessed(pixels, preprocessing)
    if len(set(rule.scale)) > 1 or len(set(rule.offset)) > 1:
        raise InputError(
            f"Expected a model of RGB images for the preprocessing {preprocessing}, which treats "
            "each color in its own way. Received: a model of gray images"
        )
    return lambda pixels: pixels * np.float32(rule.scale[0]) + np.float32(rule.offset[0])


def verification_pixels(
    folder: Path | None, model: keras.Model, labels: list[str] | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return all images of a folder, and their labels if its class folders are the model's."""
    if folder is None:
        return None, None
    images = _images_for(model, folder, labels)
    known = labels is not None and (images.labels >= 0).all()
    return model_pixels(images, model), images.labels if known else None


def calibration_pixels(folder: Path | None, model: keras.Model, count: int) -> np.ndarray | None:
    """Return `count` images of a folder at most, drawn at random."""
    if folder is None:
        return None
    images = _images_for(model, folder)
    order = np.random.default_rng(0).permutation(len(images))
    return model_pixels(images.take(order[:count]), model)


def _images_for(model: keras.Model, folder: Path, labels: list[str] | None = None) -> ImageSet:
    """Return the images of a folder, for a model of one image of a fixed size."""
    # Check the model before the images are decoded.
    image_shape(model)
    images, skipped = find_images(folder, labels)
    tell_skipped(skipped)
    return images
