"""Export of Keras models as SavedModel, TFLite and ONNX files, verified in their real runtimes."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_cbam.model_file import load_model

from .children.process import Limits
from .formats import ARTIFACTS, Artifact
from .pipeline import export_model
from .proof.parity import Parity
from .proof.proof import Judge, Proof
from .proof.report import Report, VerificationError
from .proof.tolerance import Tolerance
from .verify import verify

__all__ = [
    "ARTIFACTS",
    "Artifact",
    "Limits",
    "Parity",
    "Proof",
    "Report",
    "Tolerance",
    "VerificationError",
    "export",
    "export_model",
    "load_model",
    "verify",
]


def export(
    model: keras.Model,
    directory: str | Path,
    *,
    judge: str | Mapping[str, str] | Judge | None = None,
    beside: Mapping[str, Callable[[Path], None]] | None = None,
    **arguments: Any,
) -> Report:
    """Call `export_model`, under its name up to 0.1.

    `judge` as a function and `beside` are `judge` and `companions` of `Proof` now.
    """
    warnings.warn(
        "`keras_cbam.export.export` is deprecated. Use `keras_cbam.export.export_model`.",
        DeprecationWarning,
        stacklevel=2,
    )
    if callable(judge) or beside:
        own = judge if callable(judge) else None
        arguments["proof"] = Proof(judge=own, companions=beside or {})
    return export_model(model, directory, judge=None if callable(judge) else judge, **arguments)
