"""The exceptions that the command line turns into one sentence and an exit code."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from keras_cbam.text import sentence


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


def check_choice(what: str, given: str, known: Collection[str]) -> None:
    """Raise an `InputError` for a name that is not known."""
    if given not in known:
        raise InputError(f"Expected {what} of {', '.join(known)}. Received: {given}")


def check_share(what: str, given: float) -> None:
    """Raise an `InputError` for a number that is not in [0, 1)."""
    if not 0 <= given < 1:
        raise InputError(f"Expected {what} of at least 0 and below 1. Received: {given}")


@contextmanager
def refused(
    what: str,
    *,
    only: tuple[type[Exception], ...] = (Exception,),
    passing: tuple[type[Exception], ...] = (),
    told: Callable[[Any], str] = sentence,
) -> Iterator[None]:
    """Turn errors within the context into an `InputError`.

    A damaged or foreign file makes the readers raise nearly anything.

    Args:
        what: the message, up to the text of the error.
        only: the errors to turn.
        passing: errors to raise as they are.
        told: returns the text of an error.
    """
    try:
        yield
    except passing:
        raise
    except only as error:
        raise InputError(f"{what}{told(error)}") from error


def require(*modules: str) -> None:
    """Raise a `MissingPackageError` if a module is not installed. Call this before long work."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(module, EXTRAS[module])
