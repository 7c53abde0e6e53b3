"""Choice of the way in which each output of an artifact is compared with Keras's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, check_choice
from keras_cbam.outputs import ends_in_sigmoid

CLASSES, THRESHOLD, VALUES = "classes", "threshold", "values"
# The condition for an answer of an artifact to count as the same as Keras's.
JUDGES: dict[str, str] = {
    CLASSES: "the largest value of the last axis is in the same place, or whole numbers are equal",
    THRESHOLD: "a value is on the same side of 0.5",
    VALUES: "a value is within a tenth of the range that Keras gives at its place in the last axis",
}

# Largest rounding error in the sum of the probabilities of all classes, which is 1.
ROUNDING = 1e-3


def judges(
    outputs: Mapping[str, Any],
    answers: Mapping[str, np.ndarray],
    given: str | Mapping[str, str] | None = None,
    *,
    named: bool = False,
    known: bool = False,
) -> dict[str, str]:
    """Return the judge of each output by name: the given one, or one that fits the output.

    Args:
        outputs: Keras's symbolic outputs by name.
        answers: the values of Keras's outputs by name.
        given: a key of `JUDGES` for all outputs, or a dictionary of keys by output name.
        named: whether there are class names, which belong to the first output.
        known: whether the right class of each input is known, for the first output.

    Raises:
        InputError: if `given` has an unknown output or judge, or one that does not fit the output.
    """
    asked = dict.fromkeys(outputs, given) if isinstance(given, str) else dict(given or {})
    for name, judge in asked.items():
        check_choice("judge for outputs", name, outputs)
        check_choice("judge as one", judge, JUDGES)
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
    """Tell whether answers can be classes: whole numbers, or several values in the last axis."""
    return answers.dtype.kind != "f" or (answers.ndim > 1 and answers.shape[-1] > 1)


def _fitting(tensor: Any, answers: np.ndarray, known: bool, named: bool) -> str:
    possible = can_hold_classes(answers)
    if possible and (known or _tell_classes(answers)):
        return CLASSES
    if ends_in_sigmoid(tensor):
        return THRESHOLD
    return CLASSES if possible and named else VALUES


def _tell_classes(answers: np.ndarray) -> bool:
    """Tell whether answers are whole numbers, or add up to 1 as probabilities do."""
    if answers.dtype.kind != "f":
        return True
    return bool(answers.min() >= 0 and (np.abs(answers.sum(-1) - 1) <= ROUNDING).all())
