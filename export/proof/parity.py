"""Comparison of an artifact's outputs with Keras's, and with a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .judging import CLASSES, THRESHOLD, VALUES
from .tolerance import FLOAT_ERROR, Tolerance

# Two 8-bit steps of a value in 0..1.
EIGHT_BITS = 2 / 255
# The name of the agreement in messages, by the judge of an output.
AGREEMENTS = {
    CLASSES: "top-1 agreement",
    THRESHOLD: "share of values on the same side of 0.5",
    VALUES: "share of values within a tenth of Keras's range",
}


@dataclass(frozen=True)
class Parity:
    """How one output of an artifact compares with Keras.

    Attributes:
        output: the output's name.
        largest_error: largest absolute difference.
        mean_error: mean absolute difference.
        magnitude: Keras's largest absolute value.
        sqnr: signal to quantization noise ratio, in dB: mean square of Keras's values over that of
            the differences; `None` if there is no difference.
        agreement: share of answers that are the same, as `judging.JUDGES` defines. If Keras's own
            decision is within the float tolerance, either answer counts as the same.
        accuracy: share of right answers, if labels were given.
        accuracy_change: that share minus Keras's.
        judge: key of `judging.JUDGES`.
    """

    output: str
    largest_error: float
    mean_error: float
    magnitude: float
    sqnr: float | None
    agreement: float
    accuracy: float | None = None
    accuracy_change: float | None = None
    judge: str = CLASSES

    def misses(self, tolerance: Tolerance) -> list[str]:
        """Return the bounds of `tolerance` that this output misses, as text."""
        error, drop = tolerance.largest_error, tolerance.accuracy_drop
        error = None if error is None else error * max(1.0, self.magnitude)
        change = None if drop is None else -drop
        checks = (
            ("largest error", self.largest_error, "<=", error),
            (AGREEMENTS[self.judge], self.agreement, ">=", tolerance.agreement),
            ("SQNR", self.sqnr, ">=", tolerance.sqnr if self._asks_sqnr() else None),
            ("accuracy change", self.accuracy_change, ">=", change),
        )
        if not np.isfinite(self.largest_error):
            return [f"{self.output}: values that are not finite, where Keras's are"]
        missed = []
        for what, value, sign, bound in checks:
            if value is None or bound is None:
                continue
            # The margin absorbs the rounding of shares, so that they compare like their counts.
            within = value <= bound if sign == "<=" else value >= bound - 1e-9
            if not within:
                missed.append(f"{self.output}: {what} {value:.4g}, expected {sign} {bound:g}")
        return missed

    def _asks_sqnr(self) -> bool:
        """Tell whether the SQNR is judged. With rare decisions, 8-bit steps alone make it low."""
        if self.judge == THRESHOLD:
            return self.largest_error > EIGHT_BITS
        return self.judge == VALUES


def accuracy(output: np.ndarray, labels: np.ndarray | None, judge: str) -> float | None:
    """Return the share of right answers; `None` without labels, or if the output has no classes.

    A single score decides between two classes by its side of 0.5. Several scores decide by the
    largest of them.
    """
    if labels is None or output.ndim != 2:
        return None
    if output.shape[1] == 1:
        return float(np.mean((output[:, 0] >= 0.5) == labels)) if judge == THRESHOLD else None
    return float(np.mean(output.argmax(-1) == labels)) if judge == CLASSES else None


def differing_shapes(outputs: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Return why an artifact's outputs cannot be compared with Keras's; empty if they can."""
    found, expected = ({n: v.shape for n, v in each.items()} for each in (outputs, reference))
    return [] if found == expected else [f"outputs {found}, expected {expected}"]


def compare(
    outputs: dict[str, Any], reference: dict[str, Any], labels: Any, judges: Mapping[str, str]
) -> tuple[Parity, ...]:
    """Compare each output of an artifact with Keras's. Labels belong to the first output."""
    # Values that are infinite, NaN or very large give figures that are not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        return tuple(
            _compared(name, outputs[name], expected, labels if index == 0 else None, judges[name])
            for index, (name, expected) in enumerate(reference.items())
        )


def eased(tolerance: Tolerance, had: Parity, answers: float, decibels: float) -> Tolerance:
    """Lower a tolerance to the earlier results of an output, minus a margin, if these are lower.

    Args:
        tolerance: the tolerance to lower.
        had: the earlier comparison of the output, on the same inputs.
        answers: margin of the agreement, as a share of the answers.
        decibels: margin of the SQNR.
    """
    agreement, sqnr = tolerance.agreement, tolerance.sqnr
    if agreement is not None:
        agreement = min(agreement, had.agreement - answers)
    if sqnr is not None and had.sqnr is not None:
        sqnr = min(sqnr, had.sqnr - decibels)
    return replace(tolerance, agreement=agreement, sqnr=sqnr)


def _compared(
    name: str, found: np.ndarray, expected: np.ndarray, labels: Any, judge: str
) -> Parity:
    whole = judge == CLASSES and expected.dtype.kind != "f"
    found, expected = found.astype("float64"), expected.astype("float64")
    error = np.abs(found - expected)
    same = error == 0 if whole else SAME[judge](found, expected, error)
    score, expected_score = (accuracy(each, labels, judge) for each in (found, expected))
    return Parity(
        output=name,
        largest_error=float(error.max()),
        mean_error=float(error.mean()),
        magnitude=float(np.abs(expected).max()),
        sqnr=_sqnr(error, expected),
        agreement=float(np.mean(same)),
        accuracy=score,
        accuracy_change=None if score is None or expected_score is None else score - expected_score,
        judge=judge,
    )


def _same_place(found: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Tell where the largest value of the last axis is in the same place."""
    chosen = np.take_along_axis(expected, found.argmax(-1)[..., None], -1)[..., 0]
    largest = expected.max(-1)
    return chosen >= largest - FLOAT_ERROR * np.abs(largest)


def _same_side(found: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Tell where values are on the same side of 0.5."""
    same = (found >= 0.5) == (expected >= 0.5)
    return same | (np.abs(expected - 0.5) <= FLOAT_ERROR)


def _near(found: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Tell where values are within a tenth of the range of their place in the last axis.

    If a place does not vary, a hundredth of the range of the whole output is used.
    """
    spread = np.ptp(expected, axis=tuple(range(expected.ndim - 1)) if expected.ndim > 1 else None)
    rounding = FLOAT_ERROR * max(1.0, np.abs(expected).max())
    constant = max(rounding, 0.01 * np.ptp(expected))
    return error <= np.where(spread > rounding, 0.1 * spread, constant)


SAME = {CLASSES: _same_place, THRESHOLD: _same_side, VALUES: _near}


def _sqnr(error: np.ndarray, expected: np.ndarray) -> float | None:
    noise = float(np.mean(np.square(error)))
    signal = float(np.mean(np.square(expected)))
    return 10 * float(np.log10(signal / noise)) if noise < np.inf and noise and signal else None
