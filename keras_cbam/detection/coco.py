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
# What splits are called too: by the year, or by those who annotate on the web.
ALIASES = {"valid": "val", "validation": "val"}


def coco_splits(root: Path) -> dict[str, Path]:
    """The annotations of each split of a COCO folder; none if it is not one."""
    found = {}
    for path in sorted((root / "annotations").glob(f"{PREFIX}*.json")):
        found[_split(path.stem.removeprefix(PREFIX))] = path
    for path in sorted(root.glob(f"*/{BESIDE}")):
        found[_split(path.parent.name)] = path
    return found


def coco_classes(root: Path, split: str) -> tuple[str, ...]:
    """The classes that a split's file lists, by their number, those without a box left out."""
    record = _load(root, split)
    used = {box.get("category_id") for box in record["annotations"]}
    categories = sorted(record["categories"], key=lambda category: category["id"])
    return tuple(category["name"] for category in categories if category["id"] in used)


def read_coco(
    root: Path, split: str, classes: tuple[str, ...], progress: Progress = None
) -> DetectionSplit:
    """Read a split of a COCO folder. Crowds are neither learned from nor counted.

    Args:
        root: the folder.
        split: `"train"`, `"val"` or `"test"`, of whatever year.
        classes: the names of the classes.
        progress: called with the number of images checked and the number of all.

    Raises:
        InputError: if there is no such split, or its file is malformed.
    """
    record = _load(root, split)
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
        crowd = bool(each.get("iscrowd", 0))
        corners = (left, top, left + width, top + height)
        boxes[each.get("image_id")].append(RawBox(corners, name, crowd))
    entries = [
        Entry(_image(root, split, each["file_name"]), each["file_name"], boxes.pop(each["id"], []))
        for each in record["images"]
    ]
    for number, orphans in boxes.items():
        left_out.append(LeftOut(f"image {number}", f"{len(orphans)} boxes of an image not listed"))
    return check(entries, left_out, classes, progress)


def _split(name: str) -> str:
    name = name.rstrip("0123456789").rstrip("_-")
    return ALIASES.get(name, name)


def _load(root: Path, split: str) -> dict[str, Any]:
    splits = coco_splits(root)
    if split not in splits:
        raise InputError(f"Expected a split of {', '.join(splits)} in {root}. Received: {split}")
    path = splits[split]
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        lists = {name: list(record[name]) for name in ("images", "annotations", "categories")}
        [(entry["id"], entry["file_name"]) for entry in lists["images"]]
        [(entry["id"], entry["name"]) for entry in lists["categories"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"Expected COCO's images, annotations and categories in {path}. It is malformed: "
            f"{type(error).__name__} {error}"
        ) from error
    return lists


def _image(root: Path, split: str, name: str) -> Path:
    """Where an image is: beside its annotations, in the folder of its split, or in `images/`."""
    annotations = coco_splits(root)[split]
    year = annotations.stem.removeprefix(PREFIX)
    around = [root / year, root / split, root / "images" / year, root / "images", root]
    folders = [annotations.parent] if annotations.name == BESIDE else around
    paths = [folder / name for folder in folders]
    return next((path for path in paths if path.exists()), paths[0])
