"""Export of Keras models as SavedModel, TFLite and ONNX files, verified in their real runtimes."""

from keras_cbam.model_file import load_model

from .children.process import Limits
from .formats import ARTIFACTS, Artifact
from .pipeline import export
from .proof.parity import Parity
from .proof.report import Report, VerificationError
from .proof.tolerance import Tolerance
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
