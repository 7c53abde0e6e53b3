"""Check of images and boxes: every image is decoded once, every box is measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_cbam.detection.annotations import (
    Annotated,
    DetectionSplit,
    Entry,
    LeftOut,
    Photograph,
    Progress,
)
from keras_cbam.detection.text import brief
from keras_cbam.image_files import check_name
from keras_cbam.image_reader import STORED, decodable_mode, open_image, orientation, turned_size

# Some annotations count pixels from 1, so a box at the edge may reach this far over it.
EDGE = 1.0


class _File(NamedTuple):
    """Height and width of an image as it is stored, and its EXIF orientation."""

    size: tuple[int, int]
    orientation: int

    @property
    def turned(self) -> tuple[int, int]:
        """Height and width of the image as viewers show it."""
        return turned_size(self.size, self.orientation)


def check(
    annotated: Annotated, classes: Sequence[str], progress: Progress = None
) -> DetectionSplit:
    """Keep the images and boxes that can be used, and list the others.

    The boxes of an image refer either to the pixels as they are stored, or to the pixels as EXIF
    turns them. The annotated size tells which. Some sizes do not tell, such as that of an image
    that is stored upside down. Such an image follows the majority of the images whose size tells;
    if there are none, it is turned, as viewers show it.

    Args:
        annotated: the annotations.
        classes: the names of the classes.
        progress: called with the number of images checked so far and the number of all images.

    Returns:
        The usable images with their usable boxes, and the list of the parts left out.

    Raises:
        InputError: if the name of an image is not UTF-8, since no report could hold it.
    """
    indices = {name: index for index, name in enumerate(classes)}
    photographs: list[Photograph] = []
    left_out = list(annotated.left_out)
    read = zip(annotated.entries, _files(annotated.entries, progress), strict=True)
    pairs = [(entry, _fitting(entry, file)) for entry, file in read]
    told = [_tells_turned(entry, file) for entry, file in pairs if isinstance(file, _File)]
    usually_turned = told.count(True) >= told.count(False)
    for entry, file in pairs:
        if isinstance(file, str):
            left_out.append(LeftOut(entry.where, f"image {entry.path.name}: {file}"))
            continue
        tells = _tells_turned(entry, file)
        turn = file.orientation if (usually_turned if tells is None else tells) else STORED
        size = turned_size(file.size, turn)
        photographs.append(_photograph(entry, size, turn, indices, left_out))
    shown = (LeftOut(brief(each.where), brief(each.what)) for each in left_out)
    return DetectionSplit(tuple(photographs), tuple(shown))


def _files(entries: Sequence[Entry], progress: Progress) -> list[_File | str]:
    """Return each image's size and orientation, or the reason why it cannot be used."""
    # Unlike `Path.is_file`, this accepts any text as a name.
    there = [os.path.isfile(entry.path) for entry in entries]
    for entry in compress(entries, there):
        check_name(entry.path)
    files: list[_File | str] = []
    with ThreadPoolExecutor() as pool:
        read = pool.map(_file, [entry.path for entry in compress(entries, there)])
        for is_there in there:
            files.append(next(read) if is_there else "missing")
            if progress:
                progress(len(files), len(entries))
    return files


def _file(path: Path) -> _File | str:
    if not decodable_mode(path):
        return "cannot be decoded"
    with open_image(path) as file:
        turn = orientation(file)
        return _File((file.height, file.width), turn)


def _fitting(entry: Entry, file: _File | str) -> _File | str:
    """Return the file, or the reason why it cannot be used with its boxes."""
    if isinstance(file, str) or entry.size in (None, file.size, file.turned):
        return file
    annotated, stored = (f"{size[1]:g}x{size[0]:g}" for size in (entry.size or (), file.size))
    return f"annotated as {annotated} pixels, but it has {stored}"


def _tells_turned(entry: Entry, file: _File) -> bool | None:
    """Return whether the boxes refer to the turned image; `None` if the size does not tell."""
    if entry.size is None or file.size == file.turned:
        return None
    return entry.size == file.turned


def _photograph(
    entry: Entry,
    size: tuple[int, int],
    turn: int,
    indices: Mapping[str, int],
    left_out: list[LeftOut],
) -> Photograph:
    """Return the image with its usable boxes, and append the others to `left_out`."""
    height, width = size
    limits = np.array([width, height, width, height])
    corners = np.array([box.corners for box in entry.boxes], "float64").reshape(-1, 4)
    labels = np.array([indices.get(box.name, -1) for box in entry.boxes], "int32")
    crowd = np.array([box.crowd for box in entry.boxes], "bool")
    clipped = np.clip(corners, 0, limits).astype("float32")
    wrongs = {
        "unknown class": labels < 0,
        "not numbers": ~np.isfinite(corners).all(-1),
        f"outside of the image of {width}x{height} pixels": (
            (corners < -EDGE) | (corners > limits + EDGE)
        ).any(-1),
        "zero area": (clipped[:, 2:] <= clipped[:, :2]).any(-1),
    }
    kept = ~np.any(list(wrongs.values()), axis=0)
    for index in np.flatnonzero(~kept):
        box = entry.boxes[index]
        shown = ", ".join(f"{value:g}" for value in box.corners)
        why = next(why for why, found in wrongs.items() if found[index])
        left_out.append(LeftOut(entry.where, f"box ({shown}) of {box.name}: {why}"))
    return Photograph(entry.path, size, clipped[kept], labels[kept], crowd[kept], turn)
