"""Data sets in Pascal VOC's format: `Annotations/`, `JPEGImages/`, `ImageSets/Main/`."""

from __future__ import annotations

import codecs
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from keras_cbam.detection.annotations import Annotated, Entry, LeftOut, RawBox, annotated_size
from keras_cbam.detection.splits import NO_SPLITS, file_of_each_split, split_name
from keras_cbam.detection.text import is_name, read_lines
from keras_cbam.errors import InputError
from keras_cbam.image_files import SUFFIXES

LISTS = Path("ImageSets/Main")
IMAGES = "JPEGImages"
ANNOTATIONS = "Annotations"
BOTH = "trainval"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
# VOC's lists of one class have this flag after each name.
FLAG = re.compile(r"\s+(-1|0|1)$")
BLANK = codecs.BOM_UTF8 + b" \t\r\n"


def voc_splits(root: Path) -> dict[str, Path]:
    """Return the list of each split, or the folder of all annotations if there are no lists.

    The result is empty if the folder is not a VOC folder.

    Raises:
        InputError: if two lists belong to the same split.
    """
    lists = {path.stem: path for path in sorted((root / LISTS).glob("*.txt"))}
    # VOC's lists of one class, `<class>_train.txt`, are not splits.
    named = [(split_name(name), path) for name, path in lists.items() if "_" not in name]
    found = file_of_each_split((name, path) for name, path in named if name != BOTH)
    if not found and BOTH in lists:
        return {NO_SPLITS: lists[BOTH]}
    if not found and any((root / ANNOTATIONS).glob("*.xml")):
        return {NO_SPLITS: root / ANNOTATIONS}
    return found


def read_voc(root: Path, split: str, path: Path) -> Annotated:
    """Read a split of a VOC folder.

    Boxes that VOC calls difficult are treated like COCO's crowds. An annotation that cannot be read
    is left out with its image. An empty annotation file stands for an image without boxes.

    Args:
        root: the folder.
        split: the name of the split.
        path: the list of the split, or the folder of all annotations.

    Raises:
        InputError: if the list cannot be read.
    """
    images = _images(root)
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    for name in _names(root, path):
        annotation = root / ANNOTATIONS / f"{name}.xml"
        try:
            found, size = _read(annotation)
        except (OSError, ValueError) as error:
            left_out.append(LeftOut(annotation.name, f"image {name}: {error}"))
            continue
        left_out += [LeftOut(annotation.name, each) for each in found if isinstance(each, str)]
        boxes = [each for each in found if isinstance(each, RawBox)]
        image = images.get(name, root / IMAGES / f"{name}.jpg")
        entries.append(Entry(image, annotation.name, boxes, size))
    classes = sorted({box.name for entry in entries for box in entry.boxes})
    return Annotated(entries, left_out, tuple(classes))


def _names(root: Path, path: Path) -> list[str]:
    """Return the names in a list, each once."""
    folder = root / ANNOTATIONS
    if path == folder:
        return sorted(each.stem for each in folder.glob("*.xml"))
    if not path.is_file():
        raise InputError(f"Expected a file of names. Received: {path}")
    lines = (line.strip() for line in read_lines(path))
    return list(dict.fromkeys(_name(folder, line) for line in lines if line))


def _name(folder: Path, line: str) -> str:
    """Return the name in a line of a list. It may have spaces, a suffix, and a flag after it."""
    unflagged = FLAG.sub("", line)
    names = [line, _without_suffix(line), unflagged, _without_suffix(unflagged)]
    return next((name for name in names if os.path.isfile(folder / f"{name}.xml")), names[1])


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in (*SUFFIXES, ".xml") else name


def _images(root: Path) -> dict[str, Path]:
    """Return the images by name without suffix: annotations often give a wrong file name."""
    folder = root / IMAGES
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in paths}


def _read(annotation: Path) -> tuple[list[RawBox | str], tuple[float, float] | None]:
    """Read an annotation.

    Returns:
        The boxes, with a text in place of each that cannot be used, and the size of the image.

    Raises:
        ValueError: if the file is missing or malformed.
        OSError: if the file cannot be read.
    """
    # Only regular files: reading a pipe, for example, might never end.
    if not os.path.isfile(annotation):
        there = os.path.lexists(annotation)
        raise ValueError(f"its annotation is {'not a file' if there else 'missing'}")
    data = annotation.read_bytes()
    if not data.strip(BLANK):
        return [], None
    try:
        tree = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"malformed XML, {error}") from error
    size = annotated_size(tree.findtext("size/height"), tree.findtext("size/width"))
    return [_box(element) for element in tree.iter("object")], size


def _box(element: ElementTree.Element) -> RawBox | str:
    """Return the box of an object, or a text that says what is wrong with it."""
    name = (element.findtext("name") or "").strip()
    corners = [(element.findtext(f"bndbox/{corner}") or "").strip() for corner in CORNERS]
    shown = f"box ({', '.join(corners)})"
    if not is_name(name):
        return f"{shown} has no name of one line"
    try:
        left, top, right, bottom = map(float, corners)
    except ValueError:
        return f"{shown} of {name}: not four numbers"
    difficult = (element.findtext("difficult") or "0").strip() == "1"
    return RawBox((left, top, right, bottom), name, difficult)
