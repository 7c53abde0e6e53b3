"""The inputs of the commands of `keras-cbam detect`: detectors and data sets."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.terminal import counting, progress_bar, tell_first
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


def load_with_classes(path: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """Load a detector, and the names of its classes from `labels.txt` beside it."""
    detector = load_detector(path)
    labels = path.with_name("labels.txt")
    if not labels.is_file():
        raise InputError(f"Expected the names of the classes, one per line. No file at: {labels}")
    classes = tuple(read_lines(labels))
    check_classes(detector, classes)
    return detector, classes


def read_splits(
    data: Path, splits: list[str], classes: tuple[str, ...], val_split: float | None
) -> DetectionFolder:
    """Read splits of a data set whose classes are known, and print what is left out."""
    with progress_bar() as bar, counting(bar, "images checked") as update:
        folder = read_detection_folder(
            data, splits, classes=classes, val_split=val_split, progress=update
        )
    for name, part in folder.splits.items():
        tell_left_out(name, part)
    return folder


def some_of(split: DetectionSplit, count: int) -> tuple[Photograph, ...]:
    """Return at most `count` images, drawn at random, in their order."""
    chosen = np.random.default_rng(0).permutation(len(split))[:count]
    return tuple(split.photographs[index] for index in sorted(chosen))


def tell_left_out(split: str, part: DetectionSplit) -> None:
    """Print the files and boxes of a split that are left out, and its images without a box.

    Reports have all of them.
    """
    tell_first(f"{split}: left out, ", [f"{where}: {what}" for where, what in part.left_out])
    tell_first(f"{split}: without a box: ", [brief(path.name) for path in part.empty])
