"""Arrays of an `.npz` file that somebody else may have made."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.foreign_files import check_archive, check_file
from keras_cbam.text import sentence

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_arrays(path: Path, most: int) -> dict[str, np.ndarray]:
    """Read the arrays by name, none of them of objects.

    Args:
        path: of the file.
        most: the bytes that it may have unpacked.

    Raises:
        FileNotFoundError: if there is none.
        InputError: if it is no such file, is damaged or unpacks to more.
    """
    check_file(path)
    check_archive(path, path.stat().st_size, most, path)
    try:
        with zipfile.ZipFile(path) as archive:
            return {
                entry.filename.removesuffix(".npy"): _array(archive, entry)
                for entry in archive.infolist()
            }
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # whatever damage makes the readers raise
        raise InputError(f"Expected arrays in {path}. Received: {sentence(error)}") from error


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Read an array whose header tells its size: room is made for whatever a header says."""
    with archive.open(entry) as file:
        shape, _, dtype = _header(file, entry)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size != entry.file_size - file.tell():
            raise ValueError(f"{entry.filename} of shape {shape} and type {dtype}")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: IO[bytes], entry: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis is the fastest, and type."""
    try:
        return _HEADERS[np.lib.format.read_magic(file)](file)
    except MemoryError as error:
        # So Python's parser says that brackets are nested too deep. NumPy bounds a header's length.
        raise ValueError(f"{entry.filename} with a header of nested brackets") from error
