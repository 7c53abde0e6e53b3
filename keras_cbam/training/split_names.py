"""The usual names of the splits of a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.image_files import folders_in

# The names of each split, ignoring case, with one of `SUFFIXES` or none.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SUFFIXES = ("set", "data", "dataset", "images")


def split_of(name: str) -> str | None:
    """Return the split in `SPLIT_NAMES` that a name stands for, or `None`."""
    plain = re.sub(r"[-_ ]", "", name.casefold())
    for suffix in SUFFIXES:
        plain = plain.removesuffix(suffix)
    return next((split for split, names in SPLIT_NAMES.items() if plain in names), None)


def by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """Group the names that stand for a split by split, in the order of `SPLIT_NAMES`."""
    names = list(names)
    found = {split: [name for name in names if split_of(name) == split] for split in SPLIT_NAMES}
    return {split: said for split, said in found.items() if said}


def split_folders(root: Path) -> tuple[str, str] | None:
    """Return the names of the folders to train on and to score on; `None` without splits.

    Two folders with names of splits are never classes. A single one is a class, unless it holds
    folders.

    Raises:
        InputError: if one of the two folders is missing, or two folders stand for the same split.
    """
    found = by_split(folders_in(root))
    names = [name for said in found.values() for name in said]
    if not names or (len(names) == 1 and not folders_in(root / names[0])):
        return None
    for split, said in found.items():
        if len(said) > 1:
            raise InputError(f"Expected one folder for {split} in {root}. Received: {said}")
    if "train" not in found or len(found) == 1:
        raise InputError(
            f"Expected train/ and val/, or train/ and test/, in {root}. Found only: "
            f"{', '.join(f'{name}/' for name in names)}. If only one of them has classes, give "
            "that folder and --val-split."
        )
    scored = "val" if "val" in found else "test"
    return found["train"][0], found[scored][0]
