"""Augmentation by Keras's random layers, which transform the boxes along with the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import check_choice

BOX_FORMAT = "xyxy"
# Coordinates and label of padding boxes, as in KerasHub.
NO_BOX = -1

# The layers of each augmentation, without the arguments `seed` and `bounding_box_format`.
AUGMENTATIONS: dict[str, list[Callable[..., keras.layers.Layer]]] = {
    "flip": [partial(keras.layers.RandomFlip, "horizontal_and_vertical")],
    "zoom": [
        partial(keras.layers.RandomZoom, 0.2, fill_mode="constant"),
        partial(keras.layers.RandomTranslation, 0.1, 0.1, fill_mode="constant"),
    ],
    "color": [
        partial(keras.layers.RandomBrightness, 0.1),
        partial(keras.layers.RandomContrast, 0.2, value_range=(0, 255)),
        partial(keras.layers.RandomSaturation, (0.4, 0.6), value_range=(0, 255)),
    ],
}


def check_augmentations(names: Sequence[str]) -> None:
    """Raise an `InputError` unless every name is one of `AUGMENTATIONS`."""
    for name in names:
        check_choice("augmentations", name, AUGMENTATIONS)


def augment(
    images: np.ndarray, boxes: np.ndarray, labels: np.ndarray, names: Sequence[str], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Augment a batch. The same seed gives the same result.

    Args:
        images: `(batch, height, width, 3)` in 0..255.
        boxes: `(batch, boxes, 4)` left, top, right, bottom, in pixels.
        labels: `(batch, boxes)`, -1 for padding.
        names: names from `AUGMENTATIONS`.
        seed: an integer below 2^31.

    Returns:
        The augmented images, boxes and labels. Boxes that have left their image become padding.
    """
    # A new dictionary, because the layers write into their input.
    data: dict[str, Any] = {"images": images, "bounding_boxes": {"boxes": boxes, "labels": labels}}
    for index, name in enumerate(names):
        first_seed = (seed + 1000 * index) % 2**31
        for number, make in enumerate(AUGMENTATIONS[name]):
            layer = make(seed=first_seed + number, bounding_box_format=BOX_FORMAT)
            data = layer(data, training=True)
    found = {"images": data["images"], **data["bounding_boxes"]}
    images, boxes, labels = (
        np.array(keras.ops.convert_to_numpy(found[name]), "float32")
        for name in ("images", "boxes", "labels")
    )
    gone = (labels < 0) | (boxes[..., 2:] - boxes[..., :2] < 1).any(-1)
    boxes[gone], labels[gone] = NO_BOX, NO_BOX
    return np.clip(images, 0, 255), boxes, labels
