"""Batches of photographs and boxes. Seed, epoch and position determine a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.augmentation import NO_BOX, augment, check_augmentations
from keras_cbam.detection.letterbox import input_pixels, letterboxed
from keras_cbam.errors import InputError


class PlainBatches(keras.utils.PyDataset):
    """Batches of letterboxed images alone, in the given order, without augmentation.

    Args:
        photographs: the images.
        size: height and width of the input, in pixels.
        batch_size: number of images per batch.
        workers: number of threads that decode images.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        size: tuple[int, int],
        batch_size: int,
        workers: int = 2,
    ):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=4)
        self.photographs = photographs
        self.size = size
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.photographs) / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        start = index * self.batch_size
        return (input_pixels(self.photographs[start : start + self.batch_size], self.size),)


class DetectionBatches(PlainBatches):
    """Batches of images with boxes, in the format of KerasHub's detectors.

    A batch is `(images, {"boxes": boxes, "labels": labels})`:

    - images: `(batch, height, width, 3)` RGB float32 in 0..255
    - boxes: `(batch, most, 4)` float32 left, top, right and bottom, in pixels of the input
    - labels: `(batch, most)` float32 class indices

    `most` is the largest number of boxes in one image; images with fewer are padded with -1. Crowds
    are left out. Images are shuffled and augmented. An incomplete last batch is dropped.

    Args:
        photographs: the images.
        size: height and width of the input, in pixels.
        batch_size: number of images per batch.
        augmentations: names from `AUGMENTATIONS`.
        seed: seed of the order and the augmentation.
        epoch: index of the epoch, which changes the order and the augmentation.
        first_batch: number of batches to skip at the beginning of the epoch.
        workers: number of threads that decode images.

    Raises:
        InputError: on an unknown augmentation, or if there are fewer images than `batch_size`.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        size: tuple[int, int],
        batch_size: int,
        *,
        augmentations: Sequence[str] = (),
        seed: int = 0,
        epoch: int = 0,
        first_batch: int = 0,
        workers: int = 2,
    ):
        super().__init__(photographs, size, batch_size, workers)
        check_augmentations(augmentations)
        if len(photographs) < batch_size:
            raise InputError(
                f"Expected at least as many images as a batch has, {batch_size}. "
                f"Received: {len(photographs)}"
            )
        self.augmentations = tuple(augmentations)
        self.seed = seed
        self.epoch = epoch
        self.first_batch = first_batch
        self.most = max(1, *(len(image.single[1]) for image in photographs))
        self.order = np.random.default_rng((seed, epoch)).permutation(len(photographs))

    @property
    def batches_per_epoch(self) -> int:
        """The number of batches of a whole epoch, regardless of `first_batch`."""
        return len(self.photographs) // self.batch_size

    def __len__(self) -> int:
        return self.batches_per_epoch - self.first_batch

    def __getitem__(self, index: int) -> Any:
        number = index + self.first_batch
        chosen = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        images = np.empty((len(chosen), *self.size, 3), "float32")
        boxes = np.full((len(chosen), self.most, 4), NO_BOX, "float32")
        labels = np.full((len(chosen), self.most), NO_BOX, "float32")
        for row, each in enumerate(chosen):
            images[row], fit = letterboxed(self.photographs[each], self.size)
            single, classes = self.photographs[each].single
            boxes[row, : len(single)] = fit.boxes_in(single)
            labels[row, : len(single)] = classes
        if self.augmentations:
            rng = np.random.default_rng((self.seed, self.epoch, number))
            drawn = int(rng.integers(2**31 - 1))
            images, boxes, labels = augment(images, boxes, labels, self.augmentations, drawn)
        return images, {"boxes": boxes, "labels": labels}
