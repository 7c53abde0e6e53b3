"""Names of splits, and the file of each split."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.training.split_names import split_of

# CVAT's name for a data set without splits.
NO_SPLITS = "default"
YEAR = re.compile(r"[_-]?(19|20)\d\d$")


def split_name(name: str) -> str:
    """Return the split that a name stands for, or an unknown name without its year."""
    without_year = YEAR.sub("", name)
    return split_of(without_year) or without_year


def file_of_each_split(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Return the file of each split.

    Raises:
        InputError: if two files belong to the same split.
    """
    found: dict[str, Path] = {}
    for split, path in named:
        if split in found:
            raise InputError(
                f"Expected one file of split {split}. Found: {found[split]} and {path}"
            )
        found[split] = path
    return found
