"""Layer by layer, what quantization costs: a quantized TFLite file beside its float32 twin."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from ..children.arrays import save_arrays
from ..children.process import run_in_child
from ..source.layer_names import layer_of
from ..source.serving import Serving
from .convert import float32

# Of the representative inputs, those on which both files are run.
IMAGES = 4


class LayerError(NamedTuple):
    """What quantization costs at one operation.

    Attributes:
        layer: the Keras layer that it is of; the operation's own name if it is of none.
        operation: its kind.
        sqnr: signal to quantization noise ratio of its output, in dB.
    """

    layer: str
    operation: str
    sqnr: float


def layer_errors(serving: Serving, path: Path) -> tuple[LayerError, ...]:
    """How far each operation of a quantized file is from the float32 file, the worst first.

    Raises:
        RuntimeFailure: if LiteRT cannot run one of the files without its delegate.
    """
    with tempfile.TemporaryDirectory(dir=serving.scratch) as folder:
        samples, found = Path(folder) / "samples.npz", Path(folder) / "errors.json"
        save_arrays(samples, next(serving.calibration_samples(IMAGES)))
        run_in_child("tflite.noise", path, float32(serving), samples, found)
        errors = json.loads(found.read_text())
    layers = serving.layer_names()
    return tuple(
        LayerError(layer_of(operation, layers), kind, sqnr)
        for sqnr, kind, operation in sorted(errors)
    )
