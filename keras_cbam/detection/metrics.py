"""COCO's metrics, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import Detections
from keras_cbam.errors import require

# Names of the metrics, and their positions in COCOeval's summary.
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
    photographs: Sequence[Photograph], found: Sequence[Detections], classes: Sequence[str]
) -> dict[str, float | None]:
    """Score detections as COCO does, with at most 100 detections per image.

    The size of an object is the area of its box. COCO's own files give the area of its outline.

    Args:
        photographs: the images with their boxes. Detections within their crowds are ignored.
        found: the detections in each image, in pixels of the image.
        classes: the names of the classes.

    Returns:
        A dictionary of metrics in [0, 1]; `None` if there is no object to score.

        - `"mAP"`: average precision, averaged over the classes and over intersections over union
          from .5 to .95
        - `"mAP50"`, `"mAP75"`: the same at .5 and at .75
        - `"mAP small"`, `"mAP medium"`, `"mAP large"`: mAP by COCO's sizes of objects, below 32x32
          pixels, between, and from 96x96 pixels
        - `"mAR"`: mean recall
        - `"AP50 <class>"`: average precision of each class at .5

    Source: the detection evaluation of [COCO](https://cocodataset.org/#detection-eval).
    """
    require("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # pycocotools prints its progress to standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        truth = _rows(photographs, "iscrowd", [image.crowd for image in photographs])
        results = _rows(found, "score", [each.scores for each in found])
        for annotations in (truth, results):
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
    # Axes: thresholds, recalls, classes, sizes, numbers of detections.
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    for index, name in enumerate(classes):
        known = precision[:, index][precision[:, index] > -1]
        metrics[f"AP50 {name}"] = float(known.mean()) if len(known) else None
    return metrics


def _known(value: Any) -> float | None:
    """Return a metric, or `None` for COCO's -1, which means that there is nothing to score."""
    return float(value) if value > -1 else None


def _rows(
    images: Sequence[Photograph | Detections], key: str, values_of: Sequence[np.ndarray]
) -> list[dict[str, Any]]:
    """Return a row in COCO's format for each box, with a value of the box as `key`.

    Args:
        images: the true or the detected boxes of each image.
        key: `"score"` or `"iscrowd"`.
        values_of: the values of the boxes of each image.
    """
    rows: list[dict[str, Any]] = []
    for number, (image, values) in enumerate(zip(images, values_of, strict=True)):
        for box, label, value in zip(image.boxes, image.labels, values, strict=True):
            left, top, right, bottom = (float(side) for side in box)
            width, height = right - left, bottom - top
            rows.append(
                {
                    # Ids start at 1, because COCO reads 0 as no match.
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": int(label),
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    key: value.item(),
                }
            )
    return rows
