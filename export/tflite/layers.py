"""The error of each layer of a quantized TFLite file, compared with the float32 file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..children.process import run_in_child
from ..source.layer_names import layer_of
from ..source.serving import Serving
from .convert import float32

# Number of representative inputs that both files are run on.
IMAGES = 4


class LayerError(NamedTuple):
    """The quantization error of one operation.

    Attributes:
        layer: name of its Keras layer, or the name of the operation if it belongs to no layer.
        operation: kind of the operation.
        sqnr: signal to quantization noise ratio of its output, in dB.
    """

    layer: str
    operation: str
    sqnr: float


def layer_errors(serving: Serving, path: Path) -> tuple[LayerError, ...]:
    """Return the error of each operation of a quantized file, the worst first.

    Raises:
        RuntimeFailure: if LiteRT cannot run one of the files without its delegate.
    """
    samples = next(serving.calibration_samples(IMAGES))
    files = (path, float32(serving))
    found = run_in_child("tflite.noise", *files, samples, folder=serving.scratch)
    errors = zip(found["sqnr"].tolist(), found["operation"].tolist(), strict=True)
    layers = serving.layer_names()
    return tuple(
        LayerError(layer_of(name, layers), kind, sqnr) for sqnr, (kind, name) in sorted(errors)
    )
