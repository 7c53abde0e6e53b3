"""Decode a detector's raw outputs into boxes, with NumPy alone.

This file ships beside exported detectors and does not need the rest of the package:

    import json, numpy, decoder
    settings = json.load(open("detector.json"))
    anchors = numpy.load("anchors.npy")
    # Input of the detector: RGB float32 in 0..255, height x width as in settings["decoding"]. The
    # image is scaled to fit with its aspect ratio, and padded with black at right and bottom.
    found = decoder.decode(bbox_regression[0], cls_logits[0], anchors, **settings["decoding"])
    # x_scale, y_scale: pixels of the input per pixel of the image.
    boxes = found.boxes / (x_scale, y_scale, x_scale, y_scale)

The result is that of KerasHub's `RetinaNetObjectDetector.decode_predictions`, with boxes clipped to
the input. Boxes without area after clipping are dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Upper limit of the predicted logarithm of a box's width or height relative to its anchor's.
LARGEST = np.log(1000 / 16)


class Detections(NamedTuple):
    """Detections of one image, sorted by score, the highest first.

    Attributes:
        boxes: `(found, 4)` float32: left, top, right and bottom, in pixels.
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

    Each anchor predicts the class with its highest score. Non-maximum suppression runs over all
    classes together: among boxes that overlap, the one with the highest score is kept. The
    remaining boxes are clipped to the input, and boxes without area are dropped.

    Args:
        deltas: `(anchors, 4)`, the output `bbox_regression`.
        logits: `(anchors, classes)`, the output `cls_logits`.
        anchors: `(anchors, 4)`: left, top, right and bottom, in pixels.
        height: height of the detector's input, in pixels.
        width: width of the detector's input, in pixels.
        confidence_threshold: boxes with a score above this are kept.
        iou_threshold: intersection over union from which two boxes count as the same object.
        max_detections: largest number of detections.
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
    """Drop boxes without area, such as clipped boxes that lay outside the image."""
    some = (found.boxes[:, 2:] > found.boxes[:, :2]).all(-1)
    return Detections(found.boxes[some], found.scores[some], found.labels[some])


def to_boxes(deltas: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the anchors moved and scaled by `deltas`."""
    sizes = anchors[:, 2:] - anchors[:, :2]
    centers = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sizes
    halves = np.exp(np.minimum(deltas[:, 2:], LARGEST)) * sizes / 2
    return np.concatenate([centers - halves, centers + halves], -1).astype("float32")


def suppress(boxes: np.ndarray, iou_threshold: float, most: int) -> np.ndarray:
    """Return the indices of the boxes that remain after non-maximum suppression.

    `boxes` are sorted by score, the highest first. At most `most` indices are returned.
    """
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left) and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        left = left[overlaps(boxes[first][None], boxes[left])[0] < iou_threshold]
    return np.array(kept, int)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of `boxes` and `others`, `(boxes, others)`."""
    # One axis at a time, because reductions over an axis of two values are slow.
    across, down = (
        np.minimum(boxes[:, None, side + 2], others[None, :, side + 2])
        - np.maximum(boxes[:, None, side], others[None, :, side])
        for side in (0, 1)
    )
    shared = np.maximum(across, 0) * np.maximum(down, 0)
    areas = [np.prod(each[:, 2:] - each[:, :2], -1) for each in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-8)
