"""Measures of how faithfully a heat map shows what a classifier looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.lib.stride_tricks import sliding_window_view

from keras_cbam.visualize.classes import both_probabilities, class_count
from keras_cbam.visualize.grad_cam import check_finite
from keras_cbam.visualize.probe import is_channels_first

STEPS = 20
# Sigma of the Gaussian blur that hides positions not yet inserted, in pixels of an image of 224. It
# is scaled with the image.
BLUR = 5.0
BLUR_SIDE = 224

Box = tuple[float, float, float, float]


class Faithfulness(NamedTuple):
    """The results of deletion and insertion for each image.

    Attributes:
        deletion: area under the curve of the class's probability, `(images,)` in [0, 1], while
            positions are replaced by the mean color, the hottest first. Lower is better.
        insertion: area under the curve, `(images,)` in [0, 1], while positions of the image appear
            in a blurred image, the hottest first. Higher is better.
        deletion_curves: probabilities, `(images, steps + 1)`, from nothing deleted to all.
        insertion_curves: probabilities, `(images, steps + 1)`, from nothing inserted to all.
    """

    deletion: np.ndarray
    insertion: np.ndarray
    deletion_curves: np.ndarray
    insertion_curves: np.ndarray


def faithfulness(
    model: keras.Model,
    images: Any,
    heat: Any,
    class_index: Any,
    *,
    steps: int = STEPS,
    batch_size: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Faithfulness:
    """Measure heat maps by the deletion and insertion of [RISE](https://arxiv.org/abs/1806.07421).

    Args:
        model: a classifier with one output of probabilities, `(batch, classes)`. A single sigmoid
            stands for two classes.
        images: inputs of the model, `(images, height, width, channels)`, or `(images, channels,
            height, width)` if the first layer with a data format is `channels_first`.
        heat: heat maps, `(images, height, width)`. Equally hot positions are taken in a fixed
            random order.
        class_index: the class of each image, or one class for all.
        steps: number of steps of equal size in which the positions are taken. Defaults to `20`.
        batch_size: number of images in a batch. Defaults to `32`.
        progress: called with the number of steps done and the number of all steps.

    Returns:
        A `Faithfulness`.

    Raises:
        ValueError: if the shapes of images and heat do not fit, the heat is not finite, a class
            does not exist, or `steps` is below 1.
    """
    images, heat = np.asarray(images, "float32"), np.asarray(heat, "float64")
    axes, channel = ((2, 3), 1) if is_channels_first(model) else ((1, 2), -1)
    places = (len(images), *(images.shape[axis] for axis in axes))
    if heat.shape != places:
        raise ValueError(f"Expected heat of shape {places}. Received: heat of shape {heat.shape}")
    check_finite(heat)
    known = class_count(model)
    if steps < 1 or not np.isin(class_index, np.arange(known)).all():
        raise ValueError(
            f"Expected at least 1 step, and class numbers of at least 0 and below {known}. "
            f"Received: steps={steps}, class_index={class_index}"
        )
    classes = np.broadcast_to(np.asarray(class_index), len(images))
    ranks = np.expand_dims(_ranks(heat), channel)
    gray, blurred = images.mean(axes, keepdims=True), _blurred(images, axes)
    curves = np.zeros((2, len(images), steps + 1))
    for step in range(steps + 1):
        hot = ranks < step / steps
        mixtures = (np.where(hot, gray, images), np.where(hot, images, blurred))
        for curve, mixed in enumerate(mixtures):
            scores = model.predict(mixed, batch_size=batch_size, verbose=0)
            both = ops.convert_to_numpy(both_probabilities(scores, known))
            curves[curve, :, step] = both[np.arange(len(images)), classes]
        if progress:
            progress(step + 1, steps + 1)
    areas = (curves[..., 1:] + curves[..., :-1]).mean(-1) / 2
    return Faithfulness(*areas, *curves)


def energy_inside(heat: Any, boxes: Sequence[Sequence[Box]]) -> np.ndarray:
    """Return the share of each map's heat that lies inside the image's boxes.

    This is the [energy-based pointing game](https://arxiv.org/abs/1910.01279).

    Args:
        heat: heat maps, `(images, height, width)`, not negative.
        boxes: boxes of each image, `(left, top, right, bottom)` in pixels. A pixel counts if its
            center lies in any of them.

    Returns:
        `(images,)` in [0, 1]; 0 for an image without heat.

    Raises:
        ValueError: if the heat is not finite.
    """
    heat = np.asarray(heat, "float64")
    check_finite(heat)
    found = np.zeros(len(heat))
    rows, columns = (np.arange(size) + 0.5 for size in heat.shape[1:])
    for index, (each, these) in enumerate(zip(heat, boxes, strict=True)):
        inside = np.zeros(each.shape, bool)
        for left, top, right, bottom in these:
            inside |= np.outer(
                (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
            )
        found[index] = each[inside].sum() / each.sum() if each.sum() else 0.0
    return found


def _ranks(heat: np.ndarray) -> np.ndarray:
    """Return the share of hotter positions for each position."""
    flat = heat.reshape(len(heat), -1)
    drawn = np.random.default_rng(0).permutation(flat.shape[1])
    order = drawn[np.argsort(-flat[:, drawn], axis=1, kind="stable")]
    ranks = np.empty(flat.shape)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None] / flat.shape[1], axis=1)
    return ranks.reshape(heat.shape)


def _blurred(images: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
    """Blur images with a Gaussian kernel. The border is repeated outside the image."""
    for axis in axes:
        sigma = BLUR * images.shape[axis] / BLUR_SIDE
        reach = max(int(3 * sigma), 1)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
        kernel /= kernel.sum()
        widths = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(images, widths, mode="edge")
        # The last axis of the view is the window.
        images = sliding_window_view(padded, len(kernel), axis) @ kernel.astype("float32")
    return images
