"""What the commands of `keras-cbam detect` are given: detectors and data sets."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.terminal import counting, errors, progress_bar
from keras_cbam.detection import (
    DetectionFolder,
    DetectionSplit,
    Photograph,
    load_detector,
    read_detection_folder,
)
from keras_cbam.detection.detector import check_classes
from keras_cbam.detection.text import brief, read_lines
from keras_cbam.errors import InputError

# The most things of one kind that are not used and are named.
TOLD = 20


def load_with_classes(path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """A detector, and the names of its classes beside it."""
    detector = load_detector(path)
    labels = path.with_name("labels.txt")
    if not labels.is_file():
        raise InputError(f"Expected the names of the classes, one a line. No file at: {labels}")
    classes = tuple(read_lines(labels))
    check_classes(detector, classes)
    return detector, classes


def read_splits(
    data: Path, splits: list[str], classes: tuple[str, ...], val_split: float | None
) -> DetectionFolder:
    """Parts of a data set whose classes are known, with progress on the terminal."""
    with progress_bar() as bar, counting(bar, "images checked") as update:
        return read_detection_folder(
            data, splits, classes=classes, val_split=val_split, progress=update
        )


def some_of(split: DetectionSplit, count: int) -> tuple[Photograph, ...]:
    """At most so many of the images, in their order."""
    chosen = np.random.default_rng(0).permutation(len(split))[:count]
    return tuple(split.photographs[index] for index in sorted(chosen))


def tell_left_out(split: str, part: DetectionSplit) -> None:
    """Say what of a part is not used, and which images are without a box."""
    _tell(f"{split}: left out, ", [f"{where}: {what}" for where, what in part.left_out])
    _tell(f"{split}: without a box: ", [brief(path.name) for path in part.empty])


def _tell(what: str, each: list[str]) -> None:
    """Say the first of what may be many; reports have all."""
    for said in each[:TOLD]:
        errors.print(f"{what}{said}", markup=False, highlight=False)
    if len(each) > TOLD:
        errors.print(f"{what}and {len(each) - TOLD} more", markup=False, highlight=False)
