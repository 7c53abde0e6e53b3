"""Storage of named arrays in a file. The names may be arbitrary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# An `.npz` entry may not be called `file` or `self`.
_PREFIX = "array/"


def save_arrays(path: str | Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write arrays by name. A text, or a list of texts, becomes an array too."""
    keyed: dict[str, Any] = {_PREFIX + name: np.asarray(value) for name, value in arrays.items()}
    np.savez(path, **keyed)


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays that `save_arrays` wrote, in the same order."""
    with np.load(path) as file:
        return {name.removeprefix(_PREFIX): file[name] for name in file.files}
