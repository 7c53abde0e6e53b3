"""Ship a Keras model as SavedModel, TFLite and ONNX files, each proven in its real runtime."""

from .child import Limits
from .formats import ARTIFACTS, Artifact, Tolerance
from .load import load_model
from .parity import Parity
from .pipeline import export
from .report import Report, VerificationError
from .verify import verify

__all__ = [
    "ARTIFACTS",
    "Artifact",
    "Limits",
    "Parity",
    "Report",
    "Tolerance",
    "VerificationError",
    "export",
    "load_model",
    "verify",
]
