"""The table of formats and precisions, with the runtime and the tolerance of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from .onnx.convert import write_float32
from .onnx.lowering import LOWERINGS as ONNX_LOWERINGS
from .onnx.precisions import write_float16, write_int8
from .proof.tolerance import FLOAT_ERROR, Tolerance
from .source import saved_model
from .source.serving import Serving
from .tflite import convert as tflite
from .tflite.targets import LOWERINGS as TFLITE_LOWERINGS


@dataclass(frozen=True)
class Artifact:
    """One file (or directory) that `export_model` can write.

    Attributes:
        format: `"saved_model"`, `"tflite"` or `"onnx"`.
        precision: precision of weights and arithmetic.
        name: name of the file in the export directory.
        write: function that takes a `Serving` and a path, writes the file, and returns notes for
            the report.
        runtime: key of `runtimes.table.RUNTIMES`, the runtime in which it is verified.
        tolerance: the tolerance that it must meet.
        also: keys of `runtimes.table.RUNTIMES`, in which it is also verified if installed.
        options: names of the fields of `ExportOptions` that affect it.
    """

    format: str
    precision: str
    name: str
    write: Callable[[Serving, Path], list[str]]
    runtime: str
    tolerance: Tolerance
    also: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def judged_by(self, tolerances: Mapping[str, Tolerance]) -> Artifact:
        """Return this artifact with the tolerance that is given for its name, if there is one."""
        return replace(self, tolerance=tolerances.get(self.name, self.tolerance))

    @property
    def calibrated(self) -> bool:
        """Whether writing it needs a representative dataset."""
        return self.precision in ("int8", "int16x8")


FLOAT = Tolerance(largest_error=FLOAT_ERROR, agreement=1.0)
HALF = Tolerance(largest_error=None, agreement=0.995, sqnr=40.0)
INTEGER = Tolerance(largest_error=None, agreement=0.98, accuracy_drop=0.01, sqnr=20.0)


def _tflite(precision: str, tolerance: Tolerance, *options: str) -> Artifact:
    return Artifact(
        "tflite",
        precision,
        f"model_{precision}.tflite",
        partial(tflite.write, precision),
        "litert",
        tolerance,
        also=("openvino",),
        options=("batch_size", "target", *options),
    )


_onnx = partial(Artifact, "onnx", runtime="onnxruntime", also=("openvino", "onnxruntime-web"))

ARTIFACTS: tuple[Artifact, ...] = (
    Artifact(
        "saved_model",
        "float32",
        "saved_model",
        saved_model.write,
        "tensorflow",
        FLOAT,
        options=("jpeg_signature",),
    ),
    _tflite("float32", FLOAT),
    _tflite("float16", HALF),
    _tflite("dynamic", INTEGER),
    _tflite("int8", INTEGER, "integer_io", "float_layers"),
    _tflite("int16x8", INTEGER),
    _onnx("float32", "model.onnx", write_float32, tolerance=FLOAT, options=("opset", "target")),
    _onnx("float16", "model_float16.onnx", write_float16, tolerance=HALF, options=("opset",)),
    _onnx(
        "int8", "model_int8.onnx", write_int8, tolerance=INTEGER, options=("opset", "float_layers")
    ),
)

# Packages that are needed to write an artifact, by its format.
WRITTEN_WITH = {
    "saved_model": ("tensorflow",),
    "tflite": ("tensorflow", "ai_edge_litert"),
    "onnx": ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "onnxscript"),
}

# The passes that are applied to the files of a format, by target.
LOWERINGS: dict[str, Mapping[str, Sequence[Callable[..., object]]]] = {
    "tflite": TFLITE_LOWERINGS,
    "onnx": ONNX_LOWERINGS,
}

FORMATS: tuple[str, ...] = tuple(dict.fromkeys(a.format for a in ARTIFACTS))
PRECISIONS: tuple[str, ...] = tuple(dict.fromkeys(a.precision for a in ARTIFACTS))
ALSO: tuple[str, ...] = tuple(dict.fromkeys(r for a in ARTIFACTS for r in a.also))
