"""The exceptions the command line turns into one sentence and an exit code."""

import importlib.util


class InputError(ValueError):
    """Something the user gave cannot be used: a path, an option, a file. Exit code 2."""


class LostProcessError(RuntimeError):
    """Another process of a run is gone. What was saved is complete; the run can be resumed."""


class MissingPackageError(ImportError):
    """An optional package is not installed; the message carries the pip command. Exit code 2."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; run: pip install 'keras-cbam[{extra}]'")


# The extra that brings a module which is imported only where it is used.
EXTRAS = {
    "PIL": "viz",
    "ai_edge_litert": "tflite",
    "filelock": "study",
    "keras_hub": "detection",
    "openvino": "deploy",
    "pycocotools": "detection",
    "matplotlib": "viz",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "scipy": "study",
    "sklearn": "demo",
    "tensorflow": "tensorflow",
    "tf2onnx": "onnx",
    "torch": "torch",
}


def require(*modules: str) -> None:
    """Raise a `MissingPackageError` now for a module that long work would miss at its end."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(module, EXTRAS[module])
