"""Comparison of the detections of two detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_cbam.detection.decoder import Detections, overlaps

# Intersection over union from which two boxes count as the same.
SAME = 0.99


class Match(NamedTuple):
    """Comparison of the boxes of a detector with those of a reference, in the same images.

    Attributes:
        reference: number of boxes of the reference.
        matched: number of these that the detector finds too, with the same class and an
            intersection over union of at least 0.99. Each of its boxes matches once.
        mean_iou: mean over the reference's boxes of the largest intersection over union with a box
            of the same class; 1.0 if the reference has no boxes.
    """

    reference: int
    matched: int
    mean_iou: float

    @property
    def share(self) -> float:
        """The share of the reference's boxes that are matched."""
        return self.matched / self.reference if self.reference else 1.0


def match(
    reference: Sequence[Detections], found: Sequence[Detections], *, threshold: float
) -> Match:
    """Compare the reference's boxes with a score of at least `threshold` with all boxes found."""
    ious: list[float] = []
    matched = 0
    for ours, theirs in zip(reference, found, strict=True):
        free = np.ones(len(theirs.labels), bool)
        for box, score, label in zip(ours.boxes, ours.scores, ours.labels, strict=True):
            if score < threshold:
                continue
            iou = overlaps(box[None], theirs.boxes)[0] * (theirs.labels == label)
            ious.append(float(iou.max(initial=0.0)))
            candidates = np.where(free, iou, 0.0)
            if candidates.max(initial=0.0) >= SAME:
                matched += 1
                free[candidates.argmax()] = False
    return Match(len(ious), matched, float(np.mean(ious)) if ious else 1.0)
