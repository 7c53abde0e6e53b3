"""`reference.npz`: inputs of an export, with the outputs of Keras and of each artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, refused
from keras_cbam.npz import read_arrays
from keras_cbam.schema import short

from ..source.datasets import has_shape
from .report import InputRecord, OutputRecord, Report

REFERENCE = "reference.npz"
COUNT = 200
# Largest size of all inputs and outputs together in bytes, uncompressed.
LARGEST = 32 * 2**20
# Largest size if a single input and its answers exceed that.
LARGEST_ROW = 2**30
DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
)

Arrays = dict[str, np.ndarray]


def write_reference(
    path: Path, inputs: Arrays, keras_outputs: Arrays, artifacts: dict[str, Arrays]
) -> None:
    """Write the first inputs, at most `COUNT` and as many as fit, with the answers to them.

    Args:
        path: the file to write.
        inputs: one array for each input by name. Whole numbers in 0..255 are stored as bytes.
        keras_outputs: one array for each output by name.
        artifacts: the outputs of each artifact, by the name of the artifact.
    """
    stored = {name: _as_stored(values) for name, values in inputs.items()}
    all_outputs = [keras_outputs, *artifacts.values()]
    row_bytes = sum(values[0].nbytes for values in stored.values())
    row_bytes += sum(value[0].nbytes for outputs in all_outputs for value in outputs.values())
    count = max(1, min(COUNT, LARGEST // max(1, row_bytes)))
    arrays: dict[str, Any] = {f"input/{name}": value[:count] for name, value in stored.items()}
    for source, outputs in {"keras": keras_outputs, **artifacts}.items():
        arrays |= {f"output/{source}/{name}": values[:count] for name, values in outputs.items()}
    np.savez_compressed(path, **arrays)


def read_reference(path: Path, report: Report) -> tuple[Arrays, dict[str, Arrays]]:
    """Read the inputs, and the outputs of `keras` and of each artifact by its name.

    Args:
        path: path of the file.
        report: the report of the same export, which describes inputs and outputs.

    Raises:
        InputError: if the file is missing or damaged, or its arrays do not match the report.
    """
    inputs: Arrays = {}
    outputs: dict[str, Arrays] = {}
    absent = "Expected the reference of an export. No file at: "
    with refused(absent, only=(FileNotFoundError,), told=lambda error: str(path)):
        arrays = read_arrays(path, LARGEST_ROW)
    for key, value in arrays.items():
        kind, _, name = key.partition("/")
        if kind == "input":
            inputs[name] = value
        else:
            source, _, output = name.partition("/")
            outputs.setdefault(source, {})[output] = value
    rows = min((len(each) for each in inputs.values() if each.ndim), default=0)
    size = sum(each.nbytes for group in (inputs, *outputs.values()) for each in group.values())
    if rows < 1 or (rows > 1 and size > LARGEST):
        raise InputError(
            f"Expected inputs in {path}, with all answers of at most {LARGEST:,} bytes. Received: "
            f"{rows} inputs, {size:,} bytes"
        )
    types = {each["name"]: each["dtype"] for each in report.inputs}
    if not set(types.values()) <= set(DTYPES):
        raise InputError(
            f"Expected inputs of {', '.join(DTYPES)} in the manifest. Received: {short(types)}"
        )
    _check("inputs", inputs, report.inputs, rows, path)
    for source in {"keras", *outputs}:
        _check(f"answers of {source}", outputs.get(source, {}), report.outputs, rows, path)
    with np.errstate(invalid="ignore"):
        return {name: value.astype(types[name]) for name, value in inputs.items()}, outputs


def _check(
    what: str,
    arrays: Arrays,
    entries: Sequence[InputRecord] | Sequence[OutputRecord],
    rows: int,
    path: Path,
) -> None:
    """Raise an `InputError` unless arrays are numeric, with the entries' names and shapes."""
    expected = {each["name"]: [rows, *each["shape"][1:]] for each in entries}
    fits = set(arrays) == set(expected) and all(
        value.dtype.kind in "biuf" and value.size and has_shape(value, expected[name])
        for name, value in arrays.items()
    )
    if not fits:
        found = {name: (list(value.shape), str(value.dtype)) for name, value in arrays.items()}
        raise InputError(
            f"Expected numbers of shapes {short(expected)} as {what} in {path}. Received: "
            f"{short(found)}"
        )


def _as_stored(values: np.ndarray) -> np.ndarray:
    head = values[:COUNT]
    whole = head.size and head.min() >= 0 and head.max() <= 255 and (head == np.rint(head)).all()
    return head.astype("uint8") if whole and head.dtype != bool else head
