"""Check of images and boxes: every image is decoded once, every box is measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    """An image that can be used.

    Attributes:
        size: height and width as it is stored.
        orientation: its EXIF orientation.
        boxes_turned: whether the boxes refer to the turned image; `None` if the annotated size does
            not tell.
    """

    size: tuple[int, int]
    orientation: int
    boxes_turned: bool | None


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
    files = _files(annotated.entries, progress)
    turned = [file.boxes_turned for file in files if isinstance(file, _File)]
    usually_turned = turned.count(True) >= turned.count(False)
    for entry, file in zip(annotated.entries, files, strict=True):
        if isinstance(file, str):
            left_out.append(LeftOut(entry.where, f"image {entry.path.name}: {file}"))
            continue
        is_turned = usually_turned if file.boxes_turned is None else file.boxes_turned
        turn = file.orientation if is_turned else STORED
        size = turned_size(file.size, turn)
        photographs.append(_photograph(entry, size, turn, indices, left_out))
    shown = (LeftOut(brief(each.where), brief(each.what)) for each in left_out)
    return DetectionSplit(tuple(photographs), tuple(shown))


def _files(entries: Sequence[Entry], progress: Progress) -> list[_File | str]:
    """Return each image's file, or the reason why it cannot be used."""
    for entry in entries:
        # Unlike `Path.is_file`, this accepts any text as a name.
        if os.path.isfile(entry.path):
            check_name(entry.path)
    files: list[_File | str] = []
    with ThreadPoolExecutor() as pool:
        for file in pool.map(_file, entries):
            files.append(file)
            if progress:
                progress(len(files), len(entries))
    return files


def _file(entry: Entry) -> _File | str:
    if not os.path.isfile(entry.path):
        return "missing"
    if not decodable_mode(entry.path):
        return "cannot be decoded"
    with open_image(entry.path) as file:
        turn = orientation(file)
        stored = (file.height, file.width)
    shown = turned_size(stored, turn)
    if entry.size not in (None, stored, shown):
        annotated, found = (f"{width:g}x{height:g}" for height, width in (entry.size, stored))
        return f"annotated as {annotated} pixels, but it has {found}"
    size_tells = entry.size is not None and stored != shown
    return _File(stored, turn, entry.size == shown if size_tells else None)


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
