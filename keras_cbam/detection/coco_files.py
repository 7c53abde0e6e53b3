"""Locations of COCO's files: the annotations of each split, and the images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from keras_cbam.detection.splits import NO_SPLITS, file_of_each_split, split_name
from keras_cbam.training.split_names import SPLIT_NAMES

ANNOTATIONS = "annotations"
PREFIX = "instances_"
BESIDE = "_annotations.coco.json"


def coco_splits(root: Path) -> dict[str, Path]:
    """Return the annotation file of each split; empty if the folder is not a COCO folder.

    Raises:
        InputError: if two files belong to the same split.
    """
    folders = (root / ANNOTATIONS, root)
    loose = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    found = file_of_each_split([*_named(loose), *_in_folders(root)])
    # A single file, whatever its name, covers all images.
    return {NO_SPLITS: loose[0]} if not found and len(loose) == 1 else found


def image_folders(root: Path, split: str, annotations: Path) -> list[str]:
    """Return the folders to search for images.

    These are the folder of the annotations, folders named after the split, and `images/`.
    """
    if annotations.parent not in (root, root / ANNOTATIONS):
        return [str(annotations.parent), str(annotations.parent / "images")]
    name = annotations.stem.removeprefix(PREFIX)
    folders = [root / name, root / split, root / "images" / name, root / "images" / split]
    found = [str(folder) for folder in (*folders, root / "images") if folder.is_dir()]
    return [*dict.fromkeys(found), str(root)]


def image_path(folders: list[str], name: str) -> Path:
    """Return an image's path in the first folder that has it; in the first folder if none has."""
    # There may be a million names, some of them invalid: make a `Path` only for a file that exists.
    for each in _spellings(name):
        for folder in folders:
            path = os.path.join(folder, each)
            if os.path.isfile(path):
                return Path(path)
    return Path(os.path.join(folders[0], name))


def _named(loose: list[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the files whose names tell their split."""
    for path in loose:
        split = split_name(path.stem.removeprefix(PREFIX))
        if path.stem.startswith(PREFIX) or split in SPLIT_NAMES:
            yield split, path


def _in_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the annotation file in the folder of each split."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        split = split_name(folder.name)
        files = sorted(folder.glob("*.json"))
        if (folder / BESIDE) in files:
            yield split, folder / BESIDE
        elif split in SPLIT_NAMES and len(files) == 1:
            yield split, files[0]


def _spellings(name: str) -> Iterator[str]:
    """Yield a name as it is, with slashes for backslashes, and as the end of an absolute path."""
    yield name
    if "\\" in name:
        yield name.replace("\\", "/")
    path = PureWindowsPath(name)
    if path.root:
        yield path.name
