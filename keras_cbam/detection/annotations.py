"""Photographs with boxes: as annotations give them, and as they are used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_cbam.detection.text import brief
from keras_cbam.image_reader import STORED

# Called with the number of images checked and the number of all.
Progress = Callable[[int, int], None] | None


class LeftOut(NamedTuple):
    """Something that an annotation says and that is not used.

    Attributes:
        where: the annotation, or the image.
        what: what is left out, and why.
    """

    where: str
    what: str


class RawBox(NamedTuple):
    """A box as an annotation gives it.

    Attributes:
        corners: left, top, right and bottom, in pixels.
        name: its class.
        crowd: whether it stands for many objects, or one too difficult to count.
    """

    corners: tuple[float, float, float, float]
    name: str
    crowd: bool = False


@dataclass(frozen=True)
class Photograph:
    """One image and its boxes.

    Attributes:
        path: the image.
        size: its height and width, in pixels, after the turn.
        boxes: `(boxes, 4)` float32, left, top, right and bottom, in pixels.
        labels: `(boxes,)` int32, indices into the classes.
        crowd: `(boxes,)` bool: those not counted as found or missed, and background to training.
        orientation: of EXIF, by which its pixels are turned; 1 if they are as they are stored.
    """

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    orientation: int = STORED

    @property
    def single(self) -> tuple[np.ndarray, np.ndarray]:
        """The boxes and labels of single objects."""
        return self.boxes[~self.crowd], self.labels[~self.crowd]


@dataclass(frozen=True)
class DetectionSplit:
    """One part of a data set.

    Attributes:
        photographs: its images.
        left_out: what of its annotations is not used.
    """

    photographs: tuple[Photograph, ...]
    left_out: tuple[LeftOut, ...]

    def __len__(self) -> int:
        return len(self.photographs)

    @property
    def boxes(self) -> int:
        """How many boxes of single objects there are."""
        return sum(len(image.single[1]) for image in self.photographs)

    @property
    def empty(self) -> tuple[Path, ...]:
        """The images without a single box: all that is found in them is wrong."""
        return tuple(image.path for image in self.photographs if not len(image.boxes))

    def described(self) -> dict[str, Any]:
        """How much there is, and what is not used, as JSON keeps it."""
        return {
            "images": len(self),
            "boxes": self.boxes,
            "left_out": [list(each) for each in self.left_out],
            "without_boxes": [brief(path.name) for path in self.empty],
        }


class Entry(NamedTuple):
    """One image as an annotation gives it.

    Attributes:
        path: the image.
        where: what its annotation is called.
        boxes: its boxes.
        size: its height and width, in pixels; `None` where the annotation does not say.
    """

    path: Path
    where: str
    boxes: list[RawBox]
    size: tuple[float, float] | None = None


class Annotated(NamedTuple):
    """What the annotations of a split say.

    Attributes:
        entries: its images.
        left_out: what cannot be used already.
        classes: the names of the classes that have a box.
    """

    entries: list[Entry]
    left_out: list[LeftOut]
    classes: tuple[str, ...] = ()


def annotated_size(height: Any, width: Any) -> tuple[float, float] | None:
    """The size that an annotation gives, if it is one."""
    try:
        size = float(height), float(width)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if all(0 < side < float("inf") for side in size) else None
