"""Boxes out of a detector's raw outputs, in NumPy alone.

This file ships beside exported detectors, and needs nothing else of the package:

    import json, numpy, decoder
    settings = json.load(open("detector.json"))
    anchors = numpy.load("anchors.npy")
    # pixels: the image scaled as a whole to fit height x width of `settings`, black at the right
    # and at the bottom; RGB float32 in 0..255.
    found = decoder.decode(bbox_regression[0], cls_logits[0], anchors, **settings["decoding"])
    boxes = found.boxes / (x_scale, y_scale, x_scale, y_scale)

It computes what KerasHub's `RetinaNetObjectDetector.decode_predictions` does, cuts the boxes off at
the edges of the input, and leaves out those of which nothing remains.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Of the logarithm of width and height: what no box exceeds.
LARGEST = np.log(1000 / 16)


class Detections(NamedTuple):
    """What was found in one image, the surest first.

    Attributes:
        boxes: `(found, 4)` float32, left, top, right and bottom, in pixels.
        scores: `(found,)` float32, in 0..1.
        labels: `(found,)` int32, indices into the classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def decode(
    deltas: np.ndarray,
    logits: np.ndarray,
    anchors: np.ndarray,
    *,
    height: int,
    width: int,
    confidence_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    max_detections: int = 100,
) -> Detections:
    """Decode the outputs for one image.

    Each anchor is of the class with its highest score. Of boxes that overlap, of whatever class,
    the surest is kept. What is left is cut off at the edges of the input, and left out where no
    area remains.

    Args:
        deltas: `(anchors, 4)`, output `bbox_regression`.
        logits: `(anchors, classes)`, output `cls_logits`.
        anchors: `(anchors, 4)`, left, top, right and bottom, in pixels.
        height: of the detector's input, in pixels.
        width: likewise.
        confidence_threshold: score below which nothing is found.
        iou_threshold: intersection over union from which two boxes are the same object.
        max_detections: the most that are found.
    """
    surest = logits.max(-1).astype("float64")
    scores = 1 / (1 + np.exp(-surest))
    chosen = np.flatnonzero(scores > confidence_threshold)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    boxes = to_boxes(deltas[chosen], anchors[chosen])
    kept = suppress(boxes, iou_threshold, max_detections)
    return without_empty(
        Detections(
            np.clip(boxes[kept], 0, np.array([width, height, width, height], "float32")),
            scores[chosen[kept]].astype("float32"),
            logits[chosen[kept]].argmax(-1).astype("int32"),
        )
    )


def without_empty(found: Detections) -> Detections:
    """What is left without boxes of no area, as of those that lie outside of the image."""
    some = (found.boxes[:, 2:] > found.boxes[:, :2]).all(-1)
    return Detections(found.boxes[some], found.scores[some], found.labels[some])


def to_boxes(deltas: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Boxes of anchors moved and stretched by `deltas`."""
    sizes = anchors[:, 2:] - anchors[:, :2]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sizes
    halves = np.exp(np.minimum(deltas[:, 2:], LARGEST)) * sizes / 2
    return np.concatenate([centers - halves, centers + halves], -1).astype("float32")


def suppress(boxes: np.ndarray, iou_threshold: float, most: int) -> np.ndarray:
    """Indices of boxes, given surest first, that no surer one overlaps too much."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        left = left[overlaps(boxes[first][None], boxes[left])[0] < iou_threshold]
    return np.array(kept, int)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box, `(boxes, 4)`, with each other, `(others, 4)`."""
    # A side at a time: reductions over two are slow.
    across, down = (
        np.minimum(boxes[:, None, side + 2], others[None, :, side + 2])
        - np.maximum(boxes[:, None, side], others[None, :, side])
        for side in (0, 1)
    )
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    areas = [np.prod(each[:, 2:] - each[:, :2], -1) for each in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-8)
