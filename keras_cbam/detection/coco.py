"""Data sets in COCO's JSON format."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keras_cbam.detection.annotations import Annotated, Entry, LeftOut, RawBox, annotated_size
from keras_cbam.detection.coco_files import image_folders, image_path
from keras_cbam.detection.text import brief, is_name
from keras_cbam.errors import InputError

Row = dict[str, Any]
# The lists of a file, with the check that the objects of each list must pass.
LISTS: dict[str, Callable[[Row], bool]] = {
    "images": lambda row: _is_id(row.get("id")) and _is_file_name(row.get("file_name")),
    "annotations": lambda row: True,
    "categories": lambda row: _is_id(row.get("id")) and is_name(row.get("name")),
}


def read_coco(root: Path, split: str, path: Path) -> Annotated:
    """Read a split of a COCO folder.

    Args:
        root: the folder.
        split: the name of the split.
        path: the annotation file of the split.

    Returns:
        The images and boxes. Boxes with `iscrowd` are marked as crowds.

    Raises:
        InputError: if the file is malformed.
    """
    images, annotations, categories = _load(path)
    names = _category_names(categories, path)
    boxes, left_out = _boxes(annotations, names)
    entries = _entries(images, boxes, image_folders(root, split, path), left_out)
    for number, orphans in boxes.items():
        left_out.append(
            LeftOut(f"image {brief(number)}", f"{len(orphans)} boxes of an image not listed")
        )
    used = {row["category_id"] for row in annotations if _is_id(row.get("category_id"))}
    return Annotated(entries, left_out, _classes(names, used, path))


def _load(path: Path) -> list[list[Row]]:
    """Return the three lists of a file, after a check of their objects by `LISTS`."""
    # Only regular files: reading a pipe, for example, might never end.
    if not path.is_file():
        raise InputError(f"Expected a file of annotations. Received: {path}")
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _malformed(path, f"{type(error).__name__} {error}") from error
    if not isinstance(record, dict):
        raise _malformed(path, f"it holds {brief(record)}")
    for name, fits in LISTS.items():
        if not isinstance(record.get(name), list):
            raise _malformed(path, f"its {name} are {brief(record.get(name))}")
        for index, row in enumerate(record[name]):
            if not isinstance(row, dict) or not fits(row):
                raise _malformed(path, f"{name}[{index}] is {brief(row)}")
    return [record[name] for name in LISTS]


def _malformed(path: Path, why: str) -> InputError:
    return InputError(
        f"Expected COCO's images, annotations and categories in {path}. It is malformed: {why}"
    )


def _is_id(value: Any) -> bool:
    """Return whether a value can be an id: an integer or text."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _category_names(categories: list[Row], path: Path) -> dict[Any, str]:
    """Return the names of the categories by their ids."""
    names: dict[Any, str] = {}
    for row in categories:
        if row["id"] in names:
            raise InputError(
                f"Expected one category per id in {path}. "
                f"Received: {names[row['id']]} and {row['name']} of id {brief(row['id'])}"
            )
        names[row["id"]] = row["name"]
    return names


def _classes(names: Mapping[Any, str], used: set[Any], path: Path) -> tuple[str, ...]:
    """Return the names of the categories that have a box, sorted by id, numbers before text.

    Two categories may share a name if only one of them has boxes: some programs also list groups
    of categories.
    """
    ids = sorted(used & names.keys(), key=lambda each: (isinstance(each, str), each))
    found: dict[str, Any] = {}
    for each in ids:
        if names[each] in found:
            raise InputError(
                f"Expected one id per category in {path}. "
                f"Received: {names[each]} of ids {brief(found[names[each]])} and {brief(each)}"
            )
        found[names[each]] = each
    return tuple(found)


def _boxes(
    annotations: list[Row], names: Mapping[Any, str]
) -> tuple[dict[Any, list[RawBox]], list[LeftOut]]:
    """Return the boxes of each image by its id, and the annotations that hold no valid box."""
    boxes: dict[Any, list[RawBox]] = defaultdict(list)
    left_out: list[LeftOut] = []
    for row in annotations:
        box = _box(row, names)
        if isinstance(box, str):
            left_out.append(LeftOut(f"annotation {brief(row.get('id'))}", box))
        else:
            boxes[row["image_id"]].append(box)
    return boxes, left_out


def _box(row: Row, names: Mapping[Any, str]) -> RawBox | str:
    """Return the box of an annotation, or a text that says what is wrong with it."""
    number, image, crowd = row.get("category_id"), row.get("image_id"), row.get("iscrowd")
    if not _is_id(number) or not _is_id(image):
        return f"box of image {brief(image)}, category {brief(number)}: these are not ids"
    name = names.get(number) or f"number {brief(number)}"
    corners = _corners(row.get("bbox"))
    if corners is None:
        return f"box {brief(row.get('bbox'))} of {name}: not four numbers"
    if crowd not in (0, 1, None):
        return f"box of {name}: iscrowd is {brief(crowd)}, neither 0 nor 1"
    return RawBox(corners, name, bool(crowd))


def _corners(bbox: Any) -> tuple[float, float, float, float] | None:
    """Return left, top, right and bottom from COCO's left, top, width and height."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if not all(type(value) in (int, float) for value in bbox):
        return None
    try:
        left, top, width, height = map(float, bbox)
    except OverflowError:
        return None
    return left, top, left + width, top + height


def _entries(
    images: list[Row], boxes: dict[Any, list[RawBox]], folders: list[str], left_out: list[LeftOut]
) -> list[Entry]:
    """Return the images with their boxes, and remove these boxes from `boxes`.

    If two images share an id or a file name, it is not clear which boxes belong to which. Both are
    left out.
    """
    listed = {what: Counter(row[what] for row in images) for what in ("id", "file_name")}
    entries = []
    for row in images:
        name = row["file_name"]
        found = boxes.pop(row["id"], [])
        twice = next((what for what, counts in listed.items() if counts[row[what]] > 1), None)
        if twice:
            why = f"image {brief(name)}: its {twice} {brief(row[twice])} is listed twice"
            left_out.append(LeftOut(name, why))
            continue
        size = annotated_size(row.get("height"), row.get("width"))
        entries.append(Entry(image_path(folders, name), name, found, size))
    return entries
