"""Ship a Keras model as SavedModel, TFLite and ONNX files, each proven in its real runtime."""

from keras_cbam.model_file import load_model

from .child import Limits
from .formats import ARTIFACTS, Artifact, Tolerance
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
