"""Checks of a `.keras` file before it is loaded: its contents, its size and its input shapes."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError
from keras_cbam.foreign_files import check_archive, check_expansion

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Limits that no vision model comes near: the unpacked bytes of a file, the bytes of its
# configuration, and the values of an input.
LARGEST_UNPACKED = 8 * 2**30
LARGEST_CONFIG = 64 * 2**20
LARGEST_INPUT = 2**28


def check_keras_archive(path: Path) -> None:
    """Raise an `InputError` if a `.keras` file is not an archive, or exceeds one of the limits."""
    check_archive(path, LARGEST_UNPACKED)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        absent = {CONFIG, WEIGHTS} - set(entries)
        if absent:
            raise InputError(f"Expected {min(absent)} in a .keras file. Received: {path}")
        if entries[CONFIG].file_size > LARGEST_CONFIG:
            raise InputError(
                f"Expected {CONFIG} of at most {LARGEST_CONFIG:,} bytes. Received: {path}"
            )
        for shape in _input_shapes(json.loads(archive.read(CONFIG))):
            check_input(shape)
        check_expansion(_unpacked_weights(archive), path, LARGEST_UNPACKED)


def check_input(shape: Sequence[Any]) -> None:
    """Raise an `InputError` if an input shape, batch axis first, has no values or too many."""
    sizes = [each for each in shape[1:] if each is not None]
    if not all(isinstance(each, int) and each > 0 for each in sizes):
        raise InputError(f"Expected a model whose inputs have sizes above 0. Received: {shape}")
    if math.prod(sizes) > LARGEST_INPUT:
        raise InputError(
            f"Expected a model whose inputs have at most {LARGEST_INPUT:,} values. Received: "
            f"{shape}"
        )


def _input_shapes(config: Any) -> Iterator[list[Any]]:
    """Yield the input shapes of a model and of the models nested in it."""
    pending = [config]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending += each
        elif isinstance(each, dict):
            pending += each.values()
            # A Sequential without an InputLayer stores its shape here.
            if isinstance(each.get("build_input_shape"), list):
                yield each["build_input_shape"]
            layer = each.get("config")
            if each.get("class_name") == "InputLayer" and isinstance(layer, dict):
                shapes = (layer.get(key) for key in ("batch_shape", "batch_input_shape"))
                yield from (shape for shape in shapes if isinstance(shape, list))


def _unpacked_weights(archive: zipfile.ZipFile) -> int:
    """Return the bytes of the weights in memory. HDF5 may compress them within the archive."""
    import h5py

    stored = archive.getinfo(WEIGHTS).compress_type == zipfile.ZIP_STORED
    sizes: list[int] = []

    def add(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(math.prod(item.shape) * item.dtype.itemsize)

    with (
        archive.open(WEIGHTS) if stored else io.BytesIO(archive.read(WEIGHTS)) as file,
        h5py.File(file, "r") as weights,
    ):
        weights.visititems(add)
    return sum(sizes)
