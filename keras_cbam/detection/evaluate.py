"""Evaluation of a detector on a split: its scores and its detections, as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_cbam.detection.annotations import DetectionSplit, Photograph
from keras_cbam.detection.decoder import Detections
from keras_cbam.detection.detector import check_classes
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.pictures import side_by_side
from keras_cbam.detection.predict import Predictor
from keras_cbam.detection.report import DPI, PICTURES, left_out_lines, metrics_table
from keras_cbam.files import publish, staging_directory

REPORT = "evaluation.md"
FOUND = "detections.json"
# Largest number of characters that a picture's name takes from the name of its image.
NAME = 50


def evaluate_detector(
    detector: keras.Model,
    split: DetectionSplit,
    classes: Sequence[str],
    output: Path,
    *,
    name: str = "test",
    pictures: int = PICTURES,
) -> dict[str, Any]:
    """Score a detector on a split, and write its scores and detections to files.

    The files are `metrics.json`, `detections.json`, `detections.png` with the detections in the
    first images beside their annotations, and `evaluation.md`.

    Args:
        detector: a detector that `retinanet` built.
        split: the images and their boxes.
        classes: the names of the classes.
        output: directory of the files. Files of an earlier evaluation are replaced.
        name: name of the split, for the report.
        pictures: number of images to draw.

    Returns:
        The metrics, as `coco_metrics` returns them.
    """
    check_classes(detector, classes)
    found = Predictor(detector)(split.photographs)
    metrics = coco_metrics(split.photographs, found, classes)
    some = split.photographs[:pictures]
    lines = [
        f"# {name}: {len(split)} images, {split.boxes:,} boxes",
        "",
        *metrics_table(name, metrics, classes),
        "",
        *left_out_lines({name: split.described()}),
        "",
        "![found, and annotated](detections.png)",
    ]
    with staging_directory(output) as staging:
        _write_json(staging / "metrics.json", metrics)
        _write_json(staging / FOUND, detection_rows(split.photographs, found, classes))
        figure = side_by_side(some, found[:pictures], classes)
        figure.savefig(staging / "detections.png", dpi=DPI)
        (staging / REPORT).write_text("\n".join(lines) + "\n", encoding="utf-8")
        publish(staging, output, last=REPORT)
    return metrics


def write_predictions(
    photographs: Sequence[Photograph],
    found: Sequence[Detections],
    classes: Sequence[str],
    output: Path,
    *,
    threshold: float,
) -> None:
    """Write a picture of the detections in each image, and `detections.json`.

    Pictures of an earlier call stay unless they are overwritten.
    """
    with staging_directory(output) as staging:
        for index, (image, each) in enumerate(zip(photographs, found, strict=True)):
            figure = side_by_side([image], [each], classes, threshold=threshold, truth=False)
            # The image's name may already have the greatest length that a file system allows.
            stem = image.path.stem[:NAME]
            figure.savefig(staging / f"{index:03d}-{stem}.png", dpi=DPI)
        _write_json(staging / FOUND, detection_rows(photographs, found, classes))
        publish(staging, output, last=FOUND)


def detection_rows(
    photographs: Sequence[Photograph], found: Sequence[Detections], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one row per detection: the image, the class, left, top, width, height and the score.

    The rows resemble COCO's results. They hold names instead of ids, because ids of images and
    classes differ from data set to data set.
    """
    rows = []
    for image, each in zip(photographs, found, strict=True):
        for box, score, label in zip(each.boxes, each.scores, each.labels, strict=True):
            left, top, right, bottom = (round(float(value), 2) for value in box)
            rows.append(
                {
                    "file_name": image.path.name,
                    "category": classes[label],
                    "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                    "score": round(float(score), 5),
                }
            )
    return rows


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
