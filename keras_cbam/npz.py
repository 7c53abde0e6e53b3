"""Reading the arrays of an `.npz` file from an untrusted source."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from keras_cbam.errors import refused
from keras_cbam.foreign_files import check_archive, check_file

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_arrays(path: Path, most: int) -> dict[str, np.ndarray]:
    """Read the arrays of a file by name. Arrays of objects are refused.

    Args:
        path: path of the file.
        most: largest unpacked size in bytes.

    Raises:
        FileNotFoundError: if the path does not exist.
        InputError: if the file is not an `.npz` file, is damaged, or unpacks to more than `most`.
    """
    check_file(path)
    check_archive(path, most)
    what = f"Expected arrays in {path}. Received: "
    with (
        refused(what, passing=(PermissionError, MemoryError)),
        zipfile.ZipFile(path) as archive,
    ):
        return {
            entry.filename.removesuffix(".npy"): _array(archive, entry)
            for entry in archive.infolist()
        }


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Read an array if its header fits its size. NumPy allocates whatever a header states."""
    with archive.open(entry) as file:
        try:
            # The shape, whether the first axis varies fastest, and the type.
            shape, _, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        except MemoryError as error:
            # Python's parser raises this for brackets that are nested too deep. It is no lack of
            # memory, since NumPy limits the length of a header.
            raise ValueError(f"{entry.filename} with a header of nested brackets") from error
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size != entry.file_size - file.tell():
            raise ValueError(f"{entry.filename} of shape {shape} and type {dtype}")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
