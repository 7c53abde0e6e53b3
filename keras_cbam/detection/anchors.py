"""Choice of the anchor size that fits the boxes of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import overlaps
from keras_cbam.detection.detector import anchor_generator, anchors
from keras_cbam.detection.letterbox import letterbox

SIZES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
# KerasHub's label encoder assigns a box to an anchor from this intersection over union on.
POSITIVE = 0.5
# `coverage` samples about this many images and boxes, and compares `AT_ONCE` boxes at a time.
MOST = 500
MOST_BOXES = 5000
AT_ONCE = 50


def choose_anchor_size(
    photographs: Sequence[Photograph], image_size: tuple[int, int], sizes: Sequence[float] = SIZES
) -> tuple[float, float]:
    """Return the anchor size that fits the most boxes.

    Args:
        photographs: the images to learn from.
        image_size: height and width of the detector's input, in pixels.
        sizes: the sizes to choose from.

    Returns:
        The size, and the share of boxes that have an anchor with an intersection over union of at
        least 0.5.
    """
    shares = {size: coverage(photographs, image_size, size) for size in sizes}
    best = max(sizes, key=lambda size: shares[size])
    return best, shares[best]


def coverage(
    photographs: Sequence[Photograph], image_size: tuple[int, int], anchor_size: float
) -> float:
    """Return the share of boxes that have an anchor, measured on an evenly spaced sample."""
    candidates = anchors(anchor_generator(anchor_size), image_size)
    annotated = [image for image in photographs if len(image.single[1])]
    some = annotated[:: max(1, len(annotated) // MOST)]
    boxes = np.concatenate(
        [letterbox(image.size, image_size).boxes_in(image.single[0]) for image in some]
    )
    boxes = boxes[:: math.ceil(len(boxes) / MOST_BOXES)]
    parts = np.split(boxes, range(AT_ONCE, len(boxes), AT_ONCE))
    best = np.concatenate([overlaps(part, candidates).max(-1) for part in parts])
    return float((best >= POSITIVE).mean())
