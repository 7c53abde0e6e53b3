"""Data sets in the folders of Pascal VOC: `Annotations/`, `JPEGImages/`, `ImageSets/Main/`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from keras_cbam.detection.annotations import DetectionSplit, Entry, LeftOut, Progress, RawBox, check
from keras_cbam.errors import InputError
from keras_cbam.image_files import SUFFIXES

LISTS = Path("ImageSets/Main")
IMAGES = "JPEGImages"
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def voc_splits(root: Path) -> list[str]:
    """The names of the splits of a VOC folder; none if it is not one."""
    # VOC's own list of both, and its lists of one class, `<class>_train.txt`, are no splits.
    names = [path.stem for path in (root / LISTS).glob("*.txt")]
    return sorted(name for name in names if name != "trainval" and "_" not in name)


def voc_classes(root: Path, split: str) -> tuple[str, ...]:
    """The classes that the annotations of a split name, sorted."""
    found: set[str] = set()
    for name in _names(root, split):
        try:
            found.update(box.name for box in _read(_annotation(root, name))[0])
        except (OSError, ValueError):
            continue
    return tuple(sorted(found))


def read_voc(
    root: Path, split: str, classes: tuple[str, ...], progress: Progress = None
) -> DetectionSplit:
    """Read a split of a VOC folder.

    Boxes that VOC calls difficult are treated as COCO's crowds. An annotation that cannot be read
    is left out with its image.

    Args:
        root: the folder.
        split: name of a list in `ImageSets/Main`.
        classes: the names of the classes.
        progress: called with the number of images checked and the number of all.

    Raises:
        InputError: if there is no such list.
    """
    images = _images(root)
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    for name in _names(root, split):
        annotation = _annotation(root, name)
        try:
            boxes, wrong = _read(annotation)
        except FileNotFoundError:
            left_out.append(LeftOut(annotation.name, f"image {name}: its annotation is missing"))
        except (OSError, ValueError) as error:
            left_out.append(LeftOut(annotation.name, f"image {name}: malformed XML, {error}"))
        else:
            left_out += [LeftOut(annotation.name, what) for what in wrong]
            path = images.get(name, root / IMAGES / f"{name}.jpg")
            entries.append(Entry(path, annotation.name, boxes))
    return check(entries, left_out, classes, progress)


def _names(root: Path, split: str) -> list[str]:
    path = root / LISTS / f"{split}.txt"
    if not path.is_file():
        raise InputError(
            f"Expected a split of {', '.join(voc_splits(root))} in {root}. Received: {split}"
        )
    # In the lists of one class a flag follows the name.
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def _annotation(root: Path, name: str) -> Path:
    return root / "Annotations" / f"{name}.xml"


def _images(root: Path) -> dict[str, Path]:
    """The images by name, whatever their suffix: annotations often name another file."""
    folder = root / IMAGES
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in paths if path.suffix.lower() in SUFFIXES}


def _read(annotation: Path) -> tuple[list[RawBox], list[str]]:
    """The boxes of an annotation, and what in it is none.

    Raises:
        ValueError: if it is malformed; `OSError` if it cannot be read.
    """
    try:
        tree = ElementTree.parse(annotation).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    boxes, wrong = [], []
    for element in tree.iter("object"):
        name = (element.findtext("name") or "").strip()
        corners = [(element.findtext(f"bndbox/{corner}") or "").strip() for corner in CORNERS]
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        try:
            left, top, right, bottom = map(float, corners)
        except ValueError:
            wrong.append(f"box ({', '.join(corners)}) of {name}: not four numbers")
        else:
            boxes.append(RawBox((left, top, right, bottom), name, difficult))
    return boxes, wrong
