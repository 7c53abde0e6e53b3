"""The exceptions that the command line turns into one sentence and an exit code."""

import importlib.util


class InputError(ValueError):
    """The user gave a path, an option or a file that cannot be used. Exit code 2."""


class LostProcessError(RuntimeError):
    """Another process of a run is gone. Saved files are complete, and the run can be resumed."""


class MissingPackageError(ImportError):
    """An optional package is not installed. The message has the pip command. Exit code 2."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; run: pip install 'keras-cbam[{extra}]'")


# The extra that installs each optional module. These modules are imported only where needed.
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
    """Raise a `MissingPackageError` if a module is not installed. Call this before long work."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(module, EXTRAS[module])
