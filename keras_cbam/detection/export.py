"""Export of a detector's raw heads as verified files, with a decoder that turns them into boxes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.detection import decoder
from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import Detections
from keras_cbam.detection.detector import check_classes
from keras_cbam.detection.letterbox import input_pixels
from keras_cbam.detection.matching import Match, match
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.pictures import SHOWN
from keras_cbam.detection.predict import OUTPUTS, Predictor
from keras_cbam.errors import InputError, require
from keras_cbam.export import Proof, Report, export_model

FORMATS = ("tflite", "onnx")
# By precision: the largest loss of mAP, as a share, and the smallest share of boxes that match.
FLOAT_LOSS, INTEGER_LOSS = 0.005, 0.03
LOSSES = {"float32": FLOAT_LOSS, "float16": FLOAT_LOSS}
MATCHED = {"float32": 0.99}
KERAS = "Keras"
COLUMNS = ("artifact", "mAP", "mAP50", "mAP75", "boxes matched at IoU 0.99", "mean IoU")


@dataclass(frozen=True)
class Agreement:
    """Detections of an exported detector on the verification images, compared with Keras's.

    Attributes:
        precision: precision of the artifact.
        metrics: the metrics, as `coco_metrics` returns them.
        match: comparison with Keras's boxes with a score of at least 0.5.
    """

    precision: str
    metrics: dict[str, float | None]
    match: Match


@dataclass(frozen=True)
class DetectorExport:
    """Result of the export of a detector.

    Attributes:
        report: report on the raw outputs.
        agreements: comparison of the detections by artifact name; Keras itself is `"Keras"`.
    """

    report: Report
    agreements: dict[str, Agreement]


def table(agreements: Mapping[str, Agreement]) -> list[tuple[str, ...]]:
    """Return one row per entry of `agreements`, with the columns of `COLUMNS`."""
    rows = []
    for name, each in agreements.items():
        scores = [each.metrics[metric] for metric in ("mAP", "mAP50", "mAP75")]
        cells = ["-" if score is None else f"{score:.2%}" for score in scores]
        matched = f"{each.match.matched} of {each.match.reference}"
        rows.append((name, *cells, matched, f"{each.match.mean_iou:.4f}"))
    return rows


def export_detector(
    detector: keras.Model,
    directory: str | Path,
    photographs: Sequence[Photograph],
    classes: Sequence[str],
    *,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] | None = None,
    calibration: Sequence[Photograph] | None = None,
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> DetectorExport:
    """Export a detector's raw heads, and verify that each artifact finds what Keras finds.

    The directory also gets the files of `keras_cbam.export.export_model`; `decoder.py`, which turns
    the outputs into boxes with NumPy alone; its inputs `anchors.npy` and `detector.json`; and
    `detections.md` with the metrics of each artifact.

    Each artifact runs in its real runtime on the photographs. Its outputs are decoded by
    `decoder.py` and scored by pycocotools. Required of an artifact:

    - mAP falls by at most 0.5 points in floating point, and by at most 3 points in integers.
    - A float32 artifact finds 99 % of Keras's boxes with a score of at least 0.5, with the same
      class and an intersection over union of at least 0.99.

    If Keras itself has no box of such a score, nothing can be verified, and every artifact
    misses.

    Args:
        detector: a detector that `retinanet` built.
        directory: directory of the artifacts.
        photographs: verification images with boxes; all of them are in memory at once.
        classes: the names of the classes.
        formats: any of `"saved_model"`, `"tflite"` and `"onnx"`.
        precisions: as in `export_model`; `None` means float32, and int8 too if `calibration` is
            given.
        calibration: representative images for the calibration of integer artifacts, other than
            the verification images.
        progress: called with a line of text for each step.
        **options: further arguments of `export_model`.

    Returns:
        A `DetectorExport`.

    Raises:
        InputError: on arguments that cannot be used.
        VerificationError: if an artifact misses a requirement and `on_mismatch` is `"raise"`. Then
            nothing is exported.
    """
    require("pycocotools")
    if not photographs:
        raise InputError("Expected images with boxes to verify the artifacts on. Received: none")
    check_classes(detector, classes)
    predictor = Predictor(detector)
    # First the entry of Keras, then one of each artifact.
    agreements: dict[str, Agreement] = {}
    ours: list[Detections] = []

    def compare(name: str, precision: str, found: Sequence[Detections]) -> None:
        metrics = coco_metrics(photographs, found, classes)
        agreements[name] = Agreement(precision, metrics, match(ours, found, threshold=SHOWN))

    def judge(
        name: str, precision: str, outputs: dict[str, np.ndarray], reference: dict[str, np.ndarray]
    ) -> list[str]:
        if KERAS not in agreements:
            ours.extend(predictor.decode(reference, photographs))
            compare(KERAS, "float32", ours)
        compare(name, precision, predictor.decode(outputs, photographs))
        return _misses(agreements[name], agreements[KERAS])

    samples = None if calibration is None else input_pixels(calibration, predictor.size)
    report = export_model(
        predictor.heads,
        directory,
        formats=formats,
        precisions=precisions,
        representative_dataset=samples,
        verification_data=input_pixels(photographs, predictor.size),
        proof=Proof(judge=judge, companions=_companions(predictor, classes, agreements)),
        progress=progress,
        **options,
    )
    return DetectorExport(report, agreements)


def _misses(found: Agreement, ours: Agreement) -> list[str]:
    """Return the requirements that an artifact misses, in words."""
    if not ours.match.reference:
        return [f"Keras finds no box with a score of at least {SHOWN}, so nothing is proven"]
    missed = []
    allowed = LOSSES.get(found.precision, INTEGER_LOSS)
    loss = (ours.metrics["mAP"] or 0.0) - (found.metrics["mAP"] or 0.0)
    if loss > allowed:
        missed.append(f"mAP falls by {100 * loss:.2f} points, expected at most {100 * allowed:g}")
    asked = MATCHED.get(found.precision, 0.0)
    if found.match.share < asked:
        missed.append(f"{found.match.share:.1%} of boxes match, expected at least {asked:.0%}")
    return missed


def _companions(
    predictor: Predictor, classes: Sequence[str], agreements: dict[str, Agreement]
) -> dict[str, Callable[[Path], Any]]:
    """Return the further files of an export: the name of each, and the function that writes it."""
    decoding = predictor.decoding._asdict()
    settings = {"classes": list(classes), "outputs": list(OUTPUTS), "decoding": decoding}

    def write_settings(path: Path) -> None:
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def write_anchors(path: Path) -> None:
        np.save(path, predictor.anchors)

    def write_table(path: Path) -> None:
        rows = (COLUMNS, ["---"] * len(COLUMNS), *table(agreements))
        text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        path.write_text(text, encoding="utf-8")

    return {
        "anchors.npy": write_anchors,
        "decoder.py": partial(shutil.copyfile, decoder.__file__),
        "detections.md": write_table,
        "detector.json": write_settings,
    }
