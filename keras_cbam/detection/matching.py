"""How what one detector finds compares with what another does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_cbam.detection.decoder import Detections, overlaps

# Of two boxes that are the same.
SAME = 0.99


class Match(NamedTuple):
    """What two detectors find in the same images.

    Attributes:
        reference: how many boxes the first one finds.
        matched: how many of them the other one finds too: of the same class, at an intersection
            over union of at least 0.99, each once.
        mean_iou: mean over the boxes of the first of their best intersection over union with one of
            the same class; 1.0 where there are none.
    """

    reference: int
    matched: int
    mean_iou: float

    @property
    def share(self) -> float:
        """The share of boxes that both find."""
        return self.matched / self.reference if self.reference else 1.0


def match(
    reference: Sequence[Detections], found: Sequence[Detections], *, threshold: float
) -> Match:
    """Compare the boxes of a score of at least `threshold` with all that another detector finds."""
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
