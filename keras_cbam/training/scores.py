"""Score a classifier on images without augmentation, in one process or in several."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import ImageSet
from keras_cbam.training.processes import ALONE, Processes, on_its_own

# Keras clips probabilities at this value before it takes their logarithm.
EPSILON = 1e-7


@dataclass(eq=False)
class Scorer:
    """Scores a classifier during training.

    With several processes, each runs its share of the images through its own copy of the model.

    Args:
        model: the classifier, with one output, `(batch, classes)` probabilities.
        build: builds a copy of the classifier.
        image_size: side of the images, in pixels.
        batch_size: images per batch.
        processes: the processes that train together.

    Attributes:
        trained: the given classifier.
        model: the classifier that this process runs: the given one, or its own copy.
    """

    model: keras.Model
    build: Callable[[], keras.Model]
    image_size: int
    batch_size: int
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        self.trained = self.model
        if self.processes.count > 1:
            with on_its_own():
                self.model = self.build()

    def probabilities(self, images: ImageSet) -> np.ndarray:
        """Return `(images, classes)` float32, by the current weights of the trained model."""
        if self.processes.count == 1:
            return self._run(images)
        count, index = self.processes.count, self.processes.index
        weights = self.trained.get_weights()
        shape = (math.ceil(len(images) / count), self.model.output.shape[-1])
        rows = np.full(shape, np.nan, "float32")
        with on_its_own():
            self.model.set_weights(weights)
            mine = images.take(range(index, len(images), count))
            if len(mine):
                rows[: len(mine)] = self._run(mine)
        # One block of rows per process, which had every `count`-th image.
        gathered = self.processes.gather(rows).reshape(count, *rows.shape)
        return gathered.swapaxes(0, 1).reshape(-1, rows.shape[1])[: len(images)]

    def scores(self, images: ImageSet) -> dict[str, float]:
        """Return mean cross-entropy, as `loss`, and accuracy, by the weights of the images."""
        return scores(self.probabilities(images), images.labels, images.weights)

    def batches(self, images: ImageSet) -> ImageBatches:
        """Return batches of images without augmentation."""
        return ImageBatches(images, self.image_size, self.batch_size)

    def _run(self, images: ImageSet) -> np.ndarray:
        return np.asarray(self.model.predict(self.batches(images), verbose=0), "float32")


def told_right(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether each label has the highest probability; false if any is not finite."""
    return (probabilities.argmax(-1) == labels) & np.isfinite(probabilities).all(-1)


def within_chance(scores: dict[str, float], best: dict[str, float], *, images: int) -> bool:
    """Return whether an accuracy on `images` images is within a standard error of the best.

    This is the one-standard-error rule (Breiman et al. 1984, Classification and Regression Trees):
    the highest accuracy of many epochs on few images is partly luck. The standard error is 0 if
    all images are classified correctly, so it is taken as one image at least.
    """
    accuracy = best["accuracy"]
    error = max(math.sqrt(accuracy * (1 - accuracy) / images), 1 / images)
    # Shares of images are not exact in floating point.
    return scores["accuracy"] >= accuracy - error - 1e-9


def scores(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return mean cross-entropy, as `loss`, and accuracy of `(images, classes)` probabilities."""
    of_label = probabilities[np.arange(len(labels)), labels].astype("float64")
    losses = -np.log(np.clip(of_label, EPSILON, 1 - EPSILON))
    return {
        "accuracy": float(np.average(told_right(probabilities, labels), weights=weights)),
        "loss": float(np.average(losses, weights=weights)),
    }
