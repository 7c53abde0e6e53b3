"""Inputs, and what Keras and each artifact answered to them: `reference.npz` of an export."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError

REFERENCE = "reference.npz"
COUNT = 200
# Of all inputs and outputs together, uncompressed.
LARGEST = 32 * 2**20

Arrays = dict[str, np.ndarray]


def write_reference(
    path: Path, inputs: Arrays, keras_outputs: Arrays, artifacts: dict[str, Arrays]
) -> None:
    """Keep the first inputs, as many as are enough or fit, and the answers to them.

    Args:
        path: where to write.
        inputs: one array for each input by name; whole numbers in 0..255 are kept as such.
        keras_outputs: one array for each output by name.
        artifacts: likewise what each artifact answered, by its name.
    """
    small = {name: _small(values) for name, values in inputs.items()}
    answered = [keras_outputs, *artifacts.values()]
    each = sum(values[0].nbytes for values in small.values())
    each += sum(value[0].nbytes for outputs in answered for value in outputs.values())
    count = max(1, min(COUNT, LARGEST // max(1, each)))
    arrays = {f"input/{name}": values[:count] for name, values in small.items()}
    for source, outputs in {"keras": keras_outputs, **artifacts}.items():
        arrays |= {f"output/{source}/{name}": values[:count] for name, values in outputs.items()}
    keyed: dict[str, Any] = arrays
    np.savez_compressed(path, **keyed)


def read_reference(path: Path, dtypes: dict[str, str]) -> tuple[Arrays, dict[str, Arrays]]:
    """The inputs in their types, and the outputs by name of what gave them: `keras` or an artifact.

    Raises:
        InputError: if the file is missing or damaged.
    """
    inputs: Arrays = {}
    outputs: dict[str, Arrays] = {}
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            for key in file.files:
                kind, _, name = key.partition("/")
                if kind == "input":
                    inputs[name] = file[key].astype(dtypes[name])
                else:
                    source, _, output = name.partition("/")
                    outputs.setdefault(source, {})[output] = file[key]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is missing or damaged: {error}.") from error
    return inputs, outputs


def _small(values: np.ndarray) -> np.ndarray:
    head = values[:COUNT]
    whole = head.size and head.min() >= 0 and head.max() <= 255 and (head == np.rint(head)).all()
    return head.astype("uint8") if whole and head.dtype != bool else head
