"""A detector's raw heads as proven files, with what makes boxes of their outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.detection import decoder
from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import Detections
from keras_cbam.detection.letterbox import read_letterboxed
from keras_cbam.detection.matching import Match, match
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.pictures import SHOWN
from keras_cbam.detection.predict import OUTPUTS, Predictor, decode_all
from keras_cbam.errors import InputError
from keras_cbam.export import Report
from keras_cbam.export import export as export_model
from keras_cbam.files import atomic_path, write_text

FORMATS = ("tflite", "onnx")
# The largest loss of mAP, as a share, by precision; and the smallest share of boxes that match.
FLOAT_LOSS, INTEGER_LOSS = 0.005, 0.03
LOSSES = {"float32": FLOAT_LOSS, "float16": FLOAT_LOSS}
MATCHED = {"float32": 0.99}
CALIBRATION_IMAGES = 200
SETTINGS, ANCHORS, DECODER, REPORT = ("detector.json", "anchors.npy", "decoder.py", "detections.md")
COLUMNS = ("artifact", "mAP", "mAP50", "mAP75", "boxes matched at IoU 0.99", "mean IoU")


@dataclass(frozen=True)
class Agreement:
    """What an exported detector finds on the verification images, beside Keras.

    Attributes:
        precision: of the artifact; `"Keras"` for Keras itself.
        metrics: what `coco_metrics` returns.
        match: of Keras's boxes of a score of at least 0.5.
    """

    precision: str
    metrics: dict[str, float | None]
    match: Match


@dataclass(frozen=True)
class DetectorExport:
    """What an export came to.

    Attributes:
        report: of the raw outputs.
        keras: what Keras finds.
        artifacts: what each artifact finds, by its name.
    """

    report: Report
    keras: Agreement
    artifacts: dict[str, Agreement]

    def rows(self) -> list[tuple[str, ...]]:
        """The table of `COLUMNS`."""
        rows = []
        for name, each in {"Keras": self.keras, **self.artifacts}.items():
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
    """Write a detector's raw heads in several formats, each proven to find what Keras finds.

    Beside the artifacts, and what `keras_cbam.export.export` writes, lie `decoder.py`, which makes
    boxes of the outputs with NumPy alone, `anchors.npy` and `detector.json`, which it needs, and
    `detections.md`. Each artifact is run in its real runtime on the photographs, its outputs are
    decoded with `decoder.py`, and scored by pycocotools: with float artifacts mAP falls by at most
    0.5 points, with integer ones by at most 3, and of Keras's boxes of a score of at least 0.5 the
    float32 artifacts find 99 % of the same class at an intersection over union of at least 0.99.

    Args:
        detector: what `retinanet` builds.
        directory: where the artifacts go.
        photographs: the images and boxes to prove them on.
        classes: the names of the classes.
        formats: of `"saved_model"`, `"tflite"` and `"onnx"`.
        precisions: as of `export`; `None` means float32, and int8 when there are images to
            calibrate on.
        calibration: images to calibrate integer artifacts on, apart from the others.
        progress: called with a line for each step.
        **options: further arguments of `export`.

    Returns:
        A `DetectorExport`.

    Raises:
        InputError: on arguments that cannot be used.
        VerificationError: if an artifact misses what is asked; nothing is left of it.
    """
    if not photographs:
        raise InputError("Expected images with boxes to prove the artifacts on. Received: none")
    say = progress or (lambda line: None)
    predictor = Predictor(detector)
    say("Keras: detections")
    ours = predictor(photographs)
    keras_own = _agreement("Keras", photographs, ours, ours, classes)
    agreements: list[Agreement] = []

    def judge(precision: str, outputs: dict[str, np.ndarray]) -> list[str]:
        found = list(decode_all(outputs, photographs, predictor.anchors, predictor.decoding))
        agreement = _agreement(precision, photographs, ours, found, classes)
        agreements.append(agreement)
        return _misses(agreement, keras_own)

    report = export_model(
        predictor.heads,
        directory,
        formats=formats,
        precisions=precisions,
        representative_dataset=None if calibration is None else _pixels(calibration, predictor),
        verification_data=_pixels(photographs, predictor),
        judge=judge,
        progress=progress,
        **options,
    )
    names = [artifact.name for artifact in report.artifacts if artifact.parity]
    result = DetectorExport(report, keras_own, dict(zip(names, agreements, strict=True)))
    _write_decoder(Path(directory), predictor, classes, result)
    return result


def _agreement(
    precision: str,
    photographs: Sequence[Photograph],
    ours: Sequence[Detections],
    found: Sequence[Detections],
    classes: Sequence[str],
) -> Agreement:
    metrics = coco_metrics(photographs, found, classes)
    return Agreement(precision, metrics, match(ours, found, threshold=SHOWN))


def _misses(found: Agreement, ours: Agreement) -> list[str]:
    """What an artifact misses, in words."""
    missed = []
    allowed = LOSSES.get(found.precision, INTEGER_LOSS)
    loss = (ours.metrics["mAP"] or 0.0) - (found.metrics["mAP"] or 0.0)
    if loss > allowed:
        missed.append(f"mAP falls by {100 * loss:.2f} points, expected at most {100 * allowed:g}")
    asked = MATCHED.get(found.precision, 0.0)
    if found.match.share < asked:
        missed.append(f"{found.match.share:.1%} of boxes match, expected at least {asked:.0%}")
    return missed


def _pixels(photographs: Sequence[Photograph], predictor: Predictor) -> np.ndarray:
    return np.stack([read_letterboxed(image.path, predictor.size)[0] for image in photographs])


def _write_decoder(
    directory: Path, predictor: Predictor, classes: Sequence[str], result: DetectorExport
) -> None:
    """Write what makes boxes of the outputs, each file complete or not at all."""
    with atomic_path(directory / ANCHORS) as path:
        np.save(path, predictor.anchors)
    settings = {
        "classes": list(classes),
        "outputs": list(OUTPUTS),
        "decoding": predictor.decoding._asdict(),
    }
    write_text(directory / SETTINGS, json.dumps(settings, indent=2) + "\n")
    with atomic_path(directory / DECODER) as path:
        shutil.copyfile(decoder.__file__, path)
    lines = [
        "| " + " | ".join(row) + " |" for row in (COLUMNS, ["---"] * len(COLUMNS), *result.rows())
    ]
    write_text(directory / REPORT, "\n".join(lines) + "\n")
