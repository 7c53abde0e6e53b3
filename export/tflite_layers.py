"""Layer by layer, what quantization costs: a quantized TFLite file beside its float32 twin."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .child import run_in_child
from .operations import layer_of
from .report import LayerError

# Inputs on which both files are run.
IMAGES = 4


def layer_errors(
    path: Path, twin: Path, samples: list[np.ndarray], layers: Iterable[str], scratch: Path
) -> tuple[LayerError, ...]:
    """How far each operation of a quantized file is from the float32 file, the worst first.

    Args:
        path: the quantized file.
        twin: the float32 file of the same network.
        samples: one array for each input.
        layers: names of the Keras layers.
        scratch: a directory for temporary files.

    Raises:
        RuntimeFailure: if LiteRT cannot run one of the files.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        given, found = Path(folder) / "samples.npz", Path(folder) / "errors.json"
        np.savez(given, *[array[:IMAGES] for array in samples])
        run_in_child("tflite_noise", path, twin, given, found)
        errors = json.loads(found.read_text())
    names = sorted(layers, key=len, reverse=True)
    return tuple(
        LayerError(layer_of(operation, names), kind, sqnr)
        for sqnr, kind, operation in sorted(errors)
    )
