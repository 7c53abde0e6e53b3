"""How large the anchors have to be for the boxes of a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import overlaps
from keras_cbam.detection.detector import anchor_generator, anchors
from keras_cbam.detection.letterbox import letterbox

SIZES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
# From there on a box counts as one anchor's, as KerasHub's label encoder has it.
POSITIVE = 0.5
# About as many images tell the share, and as many of their boxes; so many are compared at once.
MOST = 500
MOST_BOXES = 5000
AT_ONCE = 50


def choose_anchor_size(
    photographs: Sequence[Photograph], image_size: tuple[int, int]
) -> tuple[float, float]:
    """The anchor size of `SIZES` that fits the most boxes.

    Args:
        photographs: the images to learn from.
        image_size: height and width of the detector's input, in pixels.

    Returns:
        The size, and the share of boxes that have an anchor of an intersection over union of at
        least 0.5.
    """
    shares = {size: coverage(photographs, image_size, size) for size in SIZES}
    best = max(SIZES, key=lambda size: shares[size])
    return best, shares[best]


def coverage(
    photographs: Sequence[Photograph], image_size: tuple[int, int], anchor_size: float
) -> float:
    """Share of boxes that have an anchor to learn from, of some from all over."""
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
