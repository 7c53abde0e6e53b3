"""COCO's metrics, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import Detections
from keras_cbam.errors import require

# The names of the metrics, and where COCOeval's summary has each.
SUMMARY = {
    "mAP": 0,
    "mAP50": 1,
    "mAP75": 2,
    "mAP small": 3,
    "mAP medium": 4,
    "mAP large": 5,
    "mAR": 8,
}


def coco_metrics(
    photographs: Sequence[Photograph],
    found: Sequence[Detections],
    classes: Sequence[str],
) -> dict[str, float | None]:
    """Score detections as COCO does, at most 100 an image.

    The size of an object is that of its box; COCO's own files give that of its outline.

    Args:
        photographs: the images; what is found within their crowds is not counted.
        found: what was found in each, in pixels of the image.
        classes: the names of the classes.

    Returns:
        `"mAP"`, the mean over classes and intersections over union .5 to .95 of the average
        precision, `"mAP50"` and `"mAP75"` at .5 and .75; by COCO's sizes of objects, `"mAP small"`,
        below 32x32 pixels, `"mAP medium"` and `"mAP large"`, from 96x96; `"mAR"`, the mean of
        recall; and `"AP50 <class>"` for each class. All in [0, 1]; `None` where there is no such
        object.

    Source: the detection evaluation of [COCO](https://cocodataset.org/#detection-eval).
    """
    require("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # pycocotools tells its steps on standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (_truth(photographs), _results(found)):
            side = COCO()
            side.dataset = {
                "images": [{"id": number} for number in range(len(photographs))],
                "annotations": annotations,
                "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
            }
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {name: _known(evaluation.stats[place]) for name, place in SUMMARY.items()}
    # (thresholds, recalls, classes, sizes, most detections)
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    for index, name in enumerate(classes):
        known = precision[:, index][precision[:, index] > -1]
        metrics[f"AP50 {name}"] = float(known.mean()) if len(known) else None
    return metrics


def _known(value: Any) -> float | None:
    """COCO says -1 where there is nothing to score."""
    return float(value) if value > -1 else None


def _truth(photographs: Sequence[Photograph]) -> list[dict[str, Any]]:
    rows = [
        (number, box, label, int(crowd))
        for number, image in enumerate(photographs)
        for box, label, crowd in zip(image.boxes, image.labels, image.crowd, strict=True)
    ]
    return [
        {**_row(index, number, box, label), "iscrowd": crowd}
        for index, (number, box, label, crowd) in enumerate(rows, start=1)
    ]


def _results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    rows = [
        (number, box, label, score)
        for number, each in enumerate(found)
        for box, score, label in zip(each.boxes, each.scores, each.labels, strict=True)
    ]
    return [
        {**_row(index, number, box, label), "score": float(score)}
        for index, (number, box, label, score) in enumerate(rows, start=1)
    ]


def _row(index: int, number: int, box: np.ndarray, label: int) -> dict[str, Any]:
    # COCO counts annotations from 1: a 0 would say that nothing was matched.
    left, top, right, bottom = (float(value) for value in box)
    width, height = right - left, bottom - top
    return {
        "id": index,
        "image_id": number,
        "category_id": int(label),
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": 0,
    }
