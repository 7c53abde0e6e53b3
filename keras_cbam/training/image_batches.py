"""Batches of decoded images; the same seed, epoch and position always give the same batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, check_choice
from keras_cbam.image_reader import DETAIL, Box, Crop, central, read_image
from keras_cbam.training.image_folder import ImageSet
from keras_cbam.training.processes import share

ASPECT = (3 / 4, 4 / 3)
COLOR = 0.2


class ImageBatches(keras.utils.PyDataset):
    """Batches of images, `(batch, size, size, 3)` RGB float32 in 0..255, with integer labels.

    If the images have weights, a batch is `(images, labels, weights)`.

    For evaluation, the central square of each image is resized, in the given order. For training,
    the images are shuffled and augmented, and the last, incomplete batch is dropped. All randomness
    derives from `(seed, epoch, position)`, so a resumed run gets the same batches.

    Args:
        images: the images.
        image_size: side of the square, in pixels.
        batch_size: images per batch.
        training: whether the images are shuffled and augmented.
        augmentations: names from `AUGMENTATIONS`, applied in training.
        crop_area: smallest share of an image's area that a random crop keeps, in (0, 1].
        seed: seed of the order and the augmentation.
        epoch: the epoch, which changes the order and the augmentation.
        first_batch: number of batches to skip at the beginning of the epoch.
        shard: `(index, count)`. In training, each batch holds only the images of process `index` of
            `count`.
        workers: number of threads that decode images.

    Raises:
        InputError: if an augmentation is unknown, the crop area is not in (0, 1], or the processes
            cannot share a batch evenly.
    """

    def __init__(
        self,
        images: ImageSet,
        image_size: int,
        batch_size: int = 32,
        *,
        training: bool = False,
        augmentations: Sequence[str] = (),
        crop_area: float = 0.5,
        seed: int = 0,
        epoch: int = 0,
        first_batch: int = 0,
        shard: tuple[int, int] = (0, 1),
        workers: int = 2,
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        check_augmentations(augmentations, crop_area)
        self.images = images
        self.image_size = image_size
        self.batch_size = batch_size
        self.training = training
        self.augmentations = tuple(augmentations) if training else ()
        self.crop_area = crop_area
        self.seed = seed
        self.epoch = epoch
        self.first_batch = first_batch
        self.shard = shard
        self.order = np.arange(len(images))
        if training:
            self.order = np.random.default_rng((seed, epoch)).permutation(len(images))
            if min(batch_size, len(images)) % shard[1]:
                raise InputError(
                    f"Expected batches that {shard[1]} processes share evenly. "
                    f"Received: batches of {min(batch_size, len(images))}"
                )

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in a whole epoch, regardless of `first_batch`."""
        if self.training and len(self.images) >= self.batch_size:
            return len(self.images) // self.batch_size
        return math.ceil(len(self.images) / self.batch_size)

    def __len__(self) -> int:
        return self.batches_per_epoch - self.first_batch

    def __getitem__(self, index: int) -> Any:
        start = (index + self.first_batch) * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        if self.training:
            chosen = share(chosen, *self.shard)
        images = np.stack([self._image(i) for i in chosen])
        weights = self.images.weights
        labels = self.images.labels[chosen]
        return (images, labels) if weights is None else (images, labels, weights[chosen])

    def _image(self, index: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.epoch, int(index)))
        crop: Crop = central(1.0)
        if "crop" in self.augmentations:
            crop = partial(_random_crop, rng=rng, smallest=self.crop_area)
        detail = 1 if self.training else DETAIL
        size = (self.image_size, self.image_size)
        image = read_image(self.images.source(index), size, crop, detail)
        for name in self.augmentations:
            image = AUGMENTATIONS[name](image, rng)
        return np.asarray(image, "float32")


def _random_crop(width: int, height: int, rng: np.random.Generator, smallest: float) -> Box:
    area = rng.uniform(smallest, 1) * width * height
    aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
    crop_width = min(math.sqrt(area * aspect), width)
    crop_height = min(math.sqrt(area / aspect), height)
    left, top = rng.uniform(0, width - crop_width), rng.uniform(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height


def check_augmentations(names: Sequence[str], crop_area: float) -> None:
    """Raise an `InputError` for an unknown augmentation or a crop area outside (0, 1]."""
    if not 0 < crop_area <= 1:
        raise InputError(f"Expected a crop area above 0 and up to 1. Received: {crop_area}")
    for name in sorted(names):
        check_choice("augmentations", name, AUGMENTATIONS)


def _keep(image: Any, rng: np.random.Generator) -> Any:
    return image


def _flip(image: Any, rng: np.random.Generator) -> Any:
    from PIL import ImageOps

    return ImageOps.mirror(image) if rng.random() < 0.5 else image


def _color(image: Any, rng: np.random.Generator) -> Any:
    from PIL import ImageEnhance

    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(1 - COLOR, 1 + COLOR))
    return image


# The image is cropped when it is resized, so its function here does nothing.
AUGMENTATIONS = {"crop": _keep, "flip": _flip, "color": _color}
