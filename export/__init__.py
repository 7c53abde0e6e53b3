"""Export of Keras models as SavedModel, TFLite and ONNX files, verified in their real runtimes."""

from keras_cbam.model_file import load_model

from .children.process import Limits
from .formats import ARTIFACTS, Artifact
from .pipeline import export, export_model
from .proof.parity import Parity
from .proof.proof import Proof
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
