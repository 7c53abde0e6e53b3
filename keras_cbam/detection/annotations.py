"""Photographs with boxes, as the annotations give them and as the package uses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_cbam.detection.text import brief
from keras_cbam.image_reader import STORED

# Called with the number of images checked so far and the number of all images.
Progress = Callable[[int, int], None] | None


class LeftOut(NamedTuple):
    """A part of an annotation that is not used.

    Attributes:
        where: the annotation, or the image.
        what: the part that is left out, and the reason.
    """

    where: str
    what: str


class RawBox(NamedTuple):
    """A box as an annotation gives it.

    Attributes:
        corners: left, top, right and bottom, in pixels.
        name: the name of its class.
        crowd: whether it stands for many objects, or for one too difficult to count.
    """

    corners: tuple[float, float, float, float]
    name: str
    crowd: bool = False


@dataclass(frozen=True)
class Photograph:
    """One image and its boxes.

    Attributes:
        path: the image file.
        size: height and width in pixels, after the image is turned by `orientation`.
        boxes: `(boxes, 4)` float32, left, top, right and bottom, in pixels.
        labels: `(boxes,)` int32, indices into the classes.
        crowd: `(boxes,)` bool, the boxes that scoring ignores and training treats as background.
        orientation: EXIF orientation by which the pixels are turned; 1 leaves them as stored.
    """

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    orientation: int = STORED

    @property
    def single(self) -> tuple[np.ndarray, np.ndarray]:
        """The boxes and labels of single objects, without crowds."""
        return self.boxes[~self.crowd], self.labels[~self.crowd]


@dataclass(frozen=True)
class DetectionSplit:
    """One part of a data set.

    Attributes:
        photographs: its images.
        left_out: the parts of its annotations that are not used.
    """

    photographs: tuple[Photograph, ...]
    left_out: tuple[LeftOut, ...]

    def __len__(self) -> int:
        return len(self.photographs)

    @property
    def boxes(self) -> int:
        """The number of boxes of single objects."""
        return sum(len(image.single[1]) for image in self.photographs)

    @property
    def empty(self) -> tuple[Path, ...]:
        """The images without boxes. Every detection in them is a false positive."""
        return tuple(image.path for image in self.photographs if not len(image.boxes))

    def described(self) -> dict[str, Any]:
        """Return the numbers of images and boxes, and the parts left out, as JSON values."""
        return {
            "images": len(self),
            "boxes": self.boxes,
            "left_out": [list(each) for each in self.left_out],
            "without_boxes": [brief(path.name) for path in self.empty],
        }


class Entry(NamedTuple):
    """One image as an annotation gives it.

    Attributes:
        path: the image file.
        where: name of the annotation, for messages.
        boxes: its boxes.
        size: height and width in pixels; `None` if the annotation does not give them.
    """

    path: Path
    where: str
    boxes: list[RawBox]
    size: tuple[float, float] | None = None


class Annotated(NamedTuple):
    """The annotations of a split, as they were read.

    Attributes:
        entries: its images.
        left_out: the parts that could not be read.
        classes: the names of the classes that have a box.
    """

    entries: list[Entry]
    left_out: list[LeftOut]
    classes: tuple[str, ...] = ()


def annotated_size(height: Any, width: Any) -> tuple[float, float] | None:
    """Return the size that an annotation gives, or `None` if it is not a valid size."""
    try:
        size = float(height), float(width)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if all(0 < side < float("inf") for side in size) else None
