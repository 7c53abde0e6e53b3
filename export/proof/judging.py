"""How each output of a model is compared with Keras's: the way that fits what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.outputs import ends_in_sigmoid

CLASSES, THRESHOLD, VALUES = "classes", "threshold", "values"
# What is the same where an artifact agrees with Keras.
JUDGES: dict[str, str] = {
    CLASSES: "the largest value of the last axis is in the same place, or whole numbers are equal",
    THRESHOLD: "a value is on the same side of 0.5",
    VALUES: "a value is within a tenth of the range that Keras gives at its place in the last axis",
}

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
            known_names = ", ".join(outputs)
            raise InputError(f"Expected judge by outputs of {known_names}. Received: {name}")
        if judge not in JUDGES:
            raise InputError(f"Expected judge as one of {', '.join(JUDGES)}. Received: {judge}")
        if judge == CLASSES and not can_hold_classes(answers[name]):
            raise InputError(
                f"Expected an output of several values, or of whole numbers, with judge {CLASSES}. "
                f"Received: {name} of shape {(None, *answers[name].shape[1:])}"
            )
    found = {}
    for index, (name, tensor) in enumerate(outputs.items()):
        first = index == 0
        fitting = _fitting(tensor, answers[name], known and first, named and first)
        found[name] = asked.get(name, fitting)
    return found


def can_hold_classes(answers: np.ndarray) -> bool:
    """Whether answers can be classes: whole numbers, or one of several places."""
    return answers.dtype.kind != "f" or (answers.ndim > 1 and answers.shape[-1] > 1)


def _fitting(tensor: Any, answers: np.ndarray, known: bool, named: bool) -> str:
    possible = can_hold_classes(answers)
    if possible and (known or _tell_classes(answers)):
        return CLASSES
    if ends_in_sigmoid(tensor):
        return THRESHOLD
    return CLASSES if possible and named else VALUES


def _tell_classes(answers: np.ndarray) -> bool:
    """Whether answers add up to 1, as probabilities do, or are whole numbers."""
    if answers.dtype.kind != "f":
        return True
    return bool(answers.min() >= 0 and (np.abs(answers.sum(-1) - 1) <= ROUNDING).all())
