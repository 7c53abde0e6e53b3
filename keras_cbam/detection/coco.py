"""Data sets in COCO's JSON: `annotations/instances_<split>.json`, or one beside the images."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from keras_cbam.detection.annotations import DetectionSplit, Entry, LeftOut, Progress, RawBox, check
from keras_cbam.errors import InputError

PREFIX = "instances_"
BESIDE = "_annotations.coco.json"
LISTS = ("images", "annotations", "categories")
# What splits are called too: by the year, or by those who annotate on the web.
ALIASES = {"valid": "val", "validation": "val"}


def coco_splits(root: Path) -> dict[str, Path]:
    """The annotations of each split of a COCO folder; none if it is not one.

    Raises:
        InputError: if two files are of one split.
    """
    found: dict[str, Path] = {}
    paths = {
        path: path.stem.removeprefix(PREFIX)
        for path in sorted((root / "annotations").glob(f"{PREFIX}*.json"))
    }
    paths |= {path: path.parent.name for path in sorted(root.glob(f"*/{BESIDE}"))}
    for path, name in paths.items():
        split = name.rstrip("0123456789").rstrip("_-")
        split = ALIASES.get(split, split)
        if split in found:
            raise InputError(
                f"Expected one file of split {split}. Found: {found[split]} and {path}"
            )
        found[split] = path
    return found


def coco_classes(root: Path, split: str) -> tuple[str, ...]:
    """The classes that a split's file lists, by their number, those without a box left out."""
    record = _load(_annotations(root, split))
    used = {box.get("category_id") for box in record["annotations"]}
    categories = sorted(record["categories"], key=lambda category: category["id"])
    return tuple(category["name"] for category in categories if category["id"] in used)


def read_coco(
    root: Path, split: str, classes: tuple[str, ...], progress: Progress = None
) -> DetectionSplit:
    """Read a split of a COCO folder. Crowds are no objects.

    Args:
        root: the folder.
        split: `"train"`, `"val"` or `"test"`, of whatever year.
        classes: the names of the classes.
        progress: called with the number of images checked and the number of all.

    Raises:
        InputError: if there is no such split, or its file is malformed.
    """
    annotations = _annotations(root, split)
    record = _load(annotations)
    names = {category["id"]: category["name"] for category in record["categories"]}
    boxes: dict[Any, list[RawBox]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for each in record["annotations"]:
        name = names.get(each.get("category_id"), f"number {each.get('category_id')}")
        try:
            left, top, width, height = (float(value) for value in each["bbox"])
        except (KeyError, TypeError, ValueError):
            where = f"annotation {each.get('id')}"
            left_out.append(LeftOut(where, f"box {each.get('bbox')} of {name}: not four numbers"))
            continue
        corners = (left, top, left + width, top + height)
        box = RawBox(corners, name, bool(each.get("iscrowd", 0)))
        boxes[each.get("image_id")].append(box)
    folders = _folders(root, split, annotations)
    entries = [
        Entry(_image(folders, each["file_name"]), each["file_name"], boxes.pop(each["id"], []))
        for each in record["images"]
    ]
    for number, orphans in boxes.items():
        left_out.append(LeftOut(f"image {number}", f"{len(orphans)} boxes of an image not listed"))
    return check(entries, left_out, classes, progress)


def _annotations(root: Path, split: str) -> Path:
    splits = coco_splits(root)
    if split not in splits:
        raise InputError(f"Expected a split of {', '.join(splits)} in {root}. Received: {split}")
    return splits[split]


def _load(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: [dict(each) for each in record[name]] for name in LISTS}
        for each in lists["images"]:
            each["id"], Path(each["file_name"])
        for each in lists["categories"]:
            each["id"], str(each["name"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"Expected COCO's images, annotations and categories in {path}. It is malformed: "
            f"{type(error).__name__} {error}"
        ) from error
    return lists


def _folders(root: Path, split: str, annotations: Path) -> list[Path]:
    """Where images may be: beside the annotations, in a folder of the split's, in `images/`."""
    if annotations.name == BESIDE:
        return [annotations.parent]
    year = annotations.stem.removeprefix(PREFIX)
    return [root / year, root / split, root / "images" / year, root / "images", root]


def _image(folders: list[Path], name: str) -> Path:
    paths = [folder / name for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])
