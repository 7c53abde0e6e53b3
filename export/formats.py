"""The table of formats and precisions, with the runtime and the tolerance of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .onnx import convert as onnx
from .onnx import precisions as onnx_precisions
from .onnx.lowering import LOWERINGS as ONNX_LOWERINGS
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
        calibrated: whether writing it needs a representative dataset.
        also: keys of `runtimes.table.RUNTIMES`, in which it is also verified if installed.
        options: names of the fields of `ExportOptions` that affect it.
    """

    format: str
    precision: str
    name: str
    write: Callable[[Serving, Path], list[str]]
    runtime: str
    tolerance: Tolerance
    calibrated: bool = False
    also: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


FLOAT = Tolerance(largest_error=FLOAT_ERROR, agreement=1.0)
HALF = Tolerance(largest_error=None, agreement=0.995, sqnr=40.0)
INTEGER = Tolerance(largest_error=None, agreement=0.98, accuracy_drop=0.01, sqnr=20.0)

_OPENVINO = ("openvino",)
_ONNX = ("openvino", "onnxruntime-web")
_TFLITE_OPTIONS = ("batch_size", "target")

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
    Artifact(
        "tflite",
        "float32",
        "model_float32.tflite",
        tflite.write_float32,
        "litert",
        FLOAT,
        also=_OPENVINO,
        options=_TFLITE_OPTIONS,
    ),
    Artifact(
        "tflite",
        "float16",
        "model_float16.tflite",
        tflite.write_float16,
        "litert",
        HALF,
        also=_OPENVINO,
        options=_TFLITE_OPTIONS,
    ),
    Artifact(
        "tflite",
        "dynamic",
        "model_dynamic.tflite",
        tflite.write_dynamic,
        "litert",
        INTEGER,
        also=_OPENVINO,
        options=_TFLITE_OPTIONS,
    ),
    Artifact(
        "tflite",
        "int8",
        "model_int8.tflite",
        tflite.write_int8,
        "litert",
        INTEGER,
        calibrated=True,
        also=_OPENVINO,
        options=(*_TFLITE_OPTIONS, "integer_io", "float_layers"),
    ),
    Artifact(
        "tflite",
        "int16x8",
        "model_int16x8.tflite",
        tflite.write_int16x8,
        "litert",
        INTEGER,
        calibrated=True,
        also=_OPENVINO,
        options=_TFLITE_OPTIONS,
    ),
    Artifact(
        "onnx",
        "float32",
        "model.onnx",
        onnx.write_float32,
        "onnxruntime",
        FLOAT,
        also=_ONNX,
        options=("opset", "target"),
    ),
    Artifact(
        "onnx",
        "float16",
        "model_float16.onnx",
        onnx_precisions.write_float16,
        "onnxruntime",
        HALF,
        also=_ONNX,
        options=("opset",),
    ),
    Artifact(
        "onnx",
        "int8",
        "model_int8.onnx",
        onnx_precisions.write_int8,
        "onnxruntime",
        INTEGER,
        calibrated=True,
        also=_ONNX,
        options=("opset", "float_layers"),
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
