"""Storage of named arrays in a file. The names may be arbitrary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# An `.npz` entry may not be called `file` or `self`.
_PREFIX = "array/"


def save_arrays(path: str | Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name."""
    keyed: dict[str, Any] = {_PREFIX + name: value for name, value in arrays.items()}
    np.savez(path, **keyed)


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays that `save_arrays` wrote, in the same order."""
    with np.load(path) as file:
        return {name.removeprefix(_PREFIX): file[name] for name in file.files}
