"""What a `.keras` file would take to load, told before it is."""

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
# No vision model comes near these: bytes of a file unpacked, bytes of its configuration, and
# values of an input.
LARGEST_UNPACKED = 8 * 2**30
LARGEST_CONFIG = 64 * 2**20
LARGEST_INPUT = 2**28


def check_keras_archive(path: Path) -> None:
    """Raise an `InputError` if a `.keras` file is no archive, or takes more than a model does."""
    size = path.stat().st_size
    check_archive(path, size, LARGEST_UNPACKED, path)
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
        check_expansion(_unpacked_weights(archive), size, LARGEST_UNPACKED, path)


def check_input(shape: Sequence[Any]) -> None:
    """Raise an `InputError` if the input of a model, the batch first, has no values or too many."""
    sizes = [each for each in shape[1:] if each is not None]
    if not all(isinstance(each, int) and each > 0 for each in sizes):
        raise InputError(f"Expected a model whose inputs have sizes above 0. Received: {shape}")
    if math.prod(sizes) > LARGEST_INPUT:
        raise InputError(
            f"Expected a model whose inputs have at most {LARGEST_INPUT:,} values. Received: "
            f"{shape}"
        )


def _input_shapes(config: Any) -> Iterator[list[Any]]:
    """The shapes of the inputs of a model and of the models in it."""
    pending = [config]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending += each
        elif isinstance(each, dict):
            pending += each.values()
            # A Sequential without an InputLayer has its shape here.
            if isinstance(each.get("build_input_shape"), list):
                yield each["build_input_shape"]
            layer = each.get("config")
            if each.get("class_name") == "InputLayer" and isinstance(layer, dict):
                shapes = (layer.get(key) for key in ("batch_shape", "batch_input_shape"))
                yield from (shape for shape in shapes if isinstance(shape, list))


def _unpacked_weights(archive: zipfile.ZipFile) -> int:
    """The bytes that the weights have in memory; in the file they may be packed again."""
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
