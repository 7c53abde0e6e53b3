"""How each output of a model is compared with Keras's: the way that fits what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError

CLASSES, THRESHOLD, VALUES = "classes", "threshold", "values"
# What is the same where an artifact agrees with Keras.
JUDGES: dict[str, str] = {
    CLASSES: "the largest value of the last axis is in the same place, or whole numbers are equal",
    THRESHOLD: "a value is on the same side of 0.5",
    VALUES: "a value is within a tenth of the range that Keras gives at its place in the last axis",
}

SIGMOIDS = ("Sigmoid", "HardSigmoid", "sigmoid", "hard_sigmoid")
# Operations that leave values as they are, wherever they put them.
MOVING = ("Reshape", "Flatten", "Permute", "Transpose", "Identity", "Dropout", "Cast")
# Probabilities of classes add up to 1, but for rounding.
ROUNDING = 1e-3


def judges(
    outputs: Mapping[str, Any],
    answers: Mapping[str, np.ndarray],
    given: str | Mapping[str, str] | None = None,
    *,
    named: bool = False,
    known: bool = False,
) -> dict[str, str]:
    """How each output is judged, by its name: as it is given, else by what the output is.

    Args:
        outputs: Keras's symbolic outputs by name.
        answers: what Keras answers, likewise.
        given: a key of `JUDGES` for all outputs, or for some by name.
        named: whether there are class names, which are of the first output.
        known: whether the right class of each input is known, likewise.

    Raises:
        InputError: if `given` has a name or a way that there is not.
    """
    asked = dict.fromkeys(outputs, given) if isinstance(given, str) else dict(given or {})
    for name, judge in asked.items():
        if name not in outputs:
            raise InputError(f"Expected judge of outputs {', '.join(outputs)}. Received: {name}")
        if judge not in JUDGES:
            raise InputError(f"Expected judge of {', '.join(JUDGES)}. Received: {judge}")
        if judge == CLASSES and not can_hold_classes(answers[name]):
            raise InputError(
                f"Expected an output of several values, or of whole numbers, with judge {CLASSES}. "
                f"Received: {name} of shape {(None, *answers[name].shape[1:])}"
            )
    found = {}
    for index, (name, tensor) in enumerate(outputs.items()):
        of_classes = index == 0 and known, index == 0 and named
        found[name] = asked.get(name) or _fitting(tensor, answers[name], *of_classes)
    return found


def can_hold_classes(answers: np.ndarray) -> bool:
    """Whether answers can be classes: whole numbers, or one of several places."""
    return answers.dtype.kind != "f" or (answers.ndim > 1 and answers.shape[-1] > 1)


def _fitting(tensor: Any, answers: np.ndarray, known: bool, named: bool) -> str:
    several = can_hold_classes(answers)
    if several and (known or _are_probabilities(answers)):
        return CLASSES
    if ends_in_sigmoid(tensor):
        return THRESHOLD
    return CLASSES if several and named else VALUES


def _are_probabilities(answers: np.ndarray) -> bool:
    """Whether they add up to 1, or are whole numbers, which name classes."""
    if answers.dtype.kind != "f":
        return True
    return bool(answers.min() >= 0 and (np.abs(answers.sum(-1) - 1) <= ROUNDING).all())


def is_one_sigmoid(tensor: Any) -> bool:
    """Whether an output is one score of a sigmoid, which tells two classes apart."""
    return len(tensor.shape) == 2 and tensor.shape[1] == 1 and ends_in_sigmoid(tensor)


def ends_in_sigmoid(tensor: Any) -> bool:
    """Whether a sigmoid makes an output, wherever its values are moved afterwards."""
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return False
    operation, kind = history.operation, type(history.operation).__name__
    if isinstance(operation, keras.Model):
        inner = getattr(operation, "outputs", None) or []
        return any(map(ends_in_sigmoid, inner[history.tensor_index :][:1]))
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", type(activation).__name__)
    if kind in SIGMOIDS or name in SIGMOIDS:
        return True
    if kind in MOVING or (kind == "Activation" and name == "linear"):
        return ends_in_sigmoid(keras.tree.flatten(operation.input)[0])
    return False
