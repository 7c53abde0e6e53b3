"""Photographs with boxes, and what in their annotations cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_cbam.image_reader import decodable_mode, open_image

# Annotations count pixels from 0 or from 1, so a box that touches the edge may reach this far over.
EDGE = 1.0

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
        size: its height and width, in pixels.
        boxes: `(boxes, 4)` float32, left, top, right and bottom, in pixels.
        labels: `(boxes,)` int32, indices into the classes.
        crowd: `(boxes,)` bool: those not counted as found or missed, and background to training.
    """

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray

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
            "without_boxes": [path.name for path in self.empty],
        }


class Entry(NamedTuple):
    """One image as an annotation gives it.

    Attributes:
        path: the image.
        where: what its annotation is called.
        boxes: its boxes.
    """

    path: Path
    where: str
    boxes: list[RawBox]


def check(
    entries: Sequence[Entry],
    left_out: Sequence[LeftOut],
    classes: tuple[str, ...],
    progress: Progress = None,
) -> DetectionSplit:
    """Keep what can be used of images and boxes, and list what cannot.

    Args:
        entries: the images.
        left_out: what cannot be used already.
        classes: the names of the classes.
        progress: called with the number of images checked and the number of all.
    """
    photographs: list[Photograph] = []
    found = list(left_out)
    with ThreadPoolExecutor() as pool:
        sizes = pool.map(_size, [entry.path for entry in entries])
        for done, (entry, size) in enumerate(zip(entries, sizes, strict=True), start=1):
            if isinstance(size, str):
                found.append(LeftOut(entry.where, f"image {entry.path.name}: {size}"))
            else:
                photographs.append(_photograph(entry, size, classes, found))
            if progress:
                progress(done, len(entries))
    return DetectionSplit(tuple(photographs), tuple(found))


def _photograph(
    entry: Entry, size: tuple[int, int], classes: tuple[str, ...], left_out: list[LeftOut]
) -> Photograph:
    """The image with the boxes that can be used; the others are appended to what is left out."""
    height, width = size
    limits = np.array([width, height, width, height], "float32")
    kept: list[tuple[np.ndarray, int, bool]] = []
    for box in entry.boxes:
        corners = np.array(box.corners, "float32")
        wrong = _wrong(corners, limits, box.name, classes)
        if wrong:
            shown = ", ".join(f"{value:g}" for value in box.corners)
            left_out.append(LeftOut(entry.where, f"box ({shown}) of {box.name}: {wrong}"))
        else:
            kept.append((np.clip(corners, 0, limits), classes.index(box.name), box.crowd))
    return Photograph(
        entry.path,
        size,
        np.array([corners for corners, _, _ in kept], "float32").reshape(-1, 4),
        np.array([label for _, label, _ in kept], "int32"),
        np.array([crowd for _, _, crowd in kept], "bool"),
    )


def _wrong(
    corners: np.ndarray, limits: np.ndarray, name: str, classes: tuple[str, ...]
) -> str | None:
    """Why a box cannot be used."""
    if name not in classes:
        return "unknown class"
    if not np.isfinite(corners).all():
        return "not numbers"
    if (corners < -EDGE).any() or (corners > limits + EDGE).any():
        return f"outside of the image of {limits[0]:g}x{limits[1]:g} pixels"
    corners = np.clip(corners, 0, limits)
    if (corners[2:] <= corners[:2]).any():
        return "zero area"
    return None


def _size(path: Path) -> tuple[int, int] | str:
    """Height and width of an image that can be decoded; or why there is none."""
    if not path.is_file():
        return "missing"
    if not decodable_mode(path):
        return "cannot be decoded"
    with open_image(path) as file:
        return file.height, file.width
