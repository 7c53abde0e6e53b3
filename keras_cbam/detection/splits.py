"""The lists of a data set, by the split that each is of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.training.split_names import split_of

# What is not divided, as CVAT calls it.
WHOLE = "default"
YEAR = re.compile(r"[_-]?(19|20)\d\d$")


def split_name(name: str) -> str:
    """The split of a list of that name, whatever its year and case."""
    without_year = YEAR.sub("", name)
    return split_of(without_year) or without_year


def one_each(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """The file of each split.

    Raises:
        InputError: if two files are of one split.
    """
    found: dict[str, Path] = {}
    for split, path in named:
        if split in found:
            raise InputError(
                f"Expected one file of split {split}. Found: {found[split]} and {path}"
            )
        found[split] = path
    return found
