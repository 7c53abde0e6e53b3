"""Where COCO's files lie: the annotations of each split, and their images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from keras_cbam.detection.splits import WHOLE, one_each, split_name
from keras_cbam.training.split_names import SPLIT_NAMES

ANNOTATIONS = "annotations"
PREFIX = "instances_"
BESIDE = "_annotations.coco.json"


def coco_splits(root: Path) -> dict[str, Path]:
    """The annotations of each split of a COCO folder; none if it is not one.

    Raises:
        InputError: if two files are of one split.
    """
    folders = (root / ANNOTATIONS, root)
    loose = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    found = one_each([*_named(loose), *_in_folders(root)])
    # One file of any name is of all images.
    return {WHOLE: loose[0]} if not found and len(loose) == 1 else found


def image_folders(root: Path, split: str, annotations: Path) -> list[str]:
    """Where images may be: beside the annotations, in a folder of the split's, in `images/`."""
    if annotations.parent not in (root, root / ANNOTATIONS):
        return [str(annotations.parent), str(annotations.parent / "images")]
    name = annotations.stem.removeprefix(PREFIX)
    folders = [root / name, root / split, root / "images" / name, root / "images" / split]
    found = [str(folder) for folder in (*folders, root / "images") if folder.is_dir()]
    return [*dict.fromkeys(found), str(root)]


def image_path(folders: list[str], name: str) -> Path:
    """The image of that name in the first folder that has it; in the first if none has."""
    # A million names are looked for, some of which no file can have: no paths until one is found.
    for each in _spellings(name):
        for folder in folders:
            path = os.path.join(folder, each)
            if os.path.isfile(path):
                return Path(path)
    return Path(os.path.join(folders[0], name))


def _named(loose: list[Path]) -> Iterator[tuple[str, Path]]:
    """The files whose names tell their split."""
    for path in loose:
        split = split_name(path.stem.removeprefix(PREFIX))
        if path.stem.startswith(PREFIX) or split in SPLIT_NAMES:
            yield split, path


def _in_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """The file beside the images in each split's folder."""
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        split = split_name(folder.name)
        files = sorted(folder.glob("*.json"))
        if (folder / BESIDE) in files:
            yield split, folder / BESIDE
        elif split in SPLIT_NAMES and len(files) == 1:
            yield split, files[0]


def _spellings(name: str) -> Iterator[str]:
    """A name as it is, with slashes for backslashes, and of a path of another machine its end."""
    yield name
    if "\\" in name:
        yield name.replace("\\", "/")
    path = PureWindowsPath(name)
    if path.root:
        yield path.name
