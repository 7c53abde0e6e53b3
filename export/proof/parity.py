"""How an artifact's outputs compare with Keras's, and what they miss of a tolerance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .judging import CLASSES, THRESHOLD, VALUES
from .tolerance import FLOAT_ERROR, Tolerance

# Two steps of a value from 0 to 1 in 8 bits.
EIGHT_BITS = 2 / 255
# What agreement is called, by how an output is judged.
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
            the differences; `None` where there is no difference.
        agreement: share of answers that are the same, as `judging.JUDGES` tells. An answer between
            values that differ by less than the float tolerance in Keras counts as the same.
        accuracy: share of right answers, where labels were given.
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
        """What this output misses of `tolerance`, in words; empty if nothing."""
        checks = (
            (
                "largest error",
                self.largest_error,
                "<=",
                _scaled(tolerance.largest_error, max(1.0, self.magnitude)),
            ),
            (AGREEMENTS[self.judge], self.agreement, ">=", tolerance.agreement),
            ("SQNR", self.sqnr, ">=", tolerance.sqnr if self._asks_sqnr() else None),
            (
                "accuracy change",
                self.accuracy_change,
                ">=",
                None if tolerance.accuracy_drop is None else -tolerance.accuracy_drop,
            ),
        )
        if not np.isfinite(self.largest_error):
            return [f"{self.output}: values that are not finite, where Keras's are"]
        missed = []
        for what, value, sign, bound in checks:
            if value is None or bound is None:
                continue
            # Shares of counts are compared as the counts they come from, whatever their rounding.
            within = value <= bound if sign == "<=" else value >= bound - 1e-9
            if not within:
                missed.append(f"{self.output}: {what} {value:.4g}, expected {sign} {bound:g}")
        return missed

    def _asks_sqnr(self) -> bool:
        """Whether the SQNR tells anything: of rare decisions, steps of 8 bits are noise enough."""
        if self.judge == THRESHOLD:
            return self.largest_error > EIGHT_BITS
        return self.judge == VALUES


def accuracy(output: np.ndarray, labels: np.ndarray | None, judge: str) -> float | None:
    """Share of right answers; `None` without labels, or where the output tells no class.

    One score on the right side of 0.5 tells two classes, one score for each of several tells them.
    """
    if labels is None or output.ndim != 2:
        return None
    if output.shape[1] == 1:
        return float(np.mean((output[:, 0] >= 0.5) == labels)) if judge == THRESHOLD else None
    return float(np.mean(output.argmax(-1) == labels)) if judge == CLASSES else None


def differing_shapes(outputs: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Where an artifact's outputs cannot be compared with Keras's, in words; empty if nowhere."""
    found, expected = ({n: v.shape for n, v in each.items()} for each in (outputs, reference))
    return [] if found == expected else [f"outputs {found}, expected {expected}"]


def compare(
    outputs: dict[str, Any], reference: dict[str, Any], labels: Any, judges: Mapping[str, str]
) -> tuple[Parity, ...]:
    """Compare an artifact's outputs with Keras's, output by output; labels are of the first."""
    # The figures of values that are not finite, or nearly so, are not finite either.
    with np.errstate(over="ignore", invalid="ignore"):
        return tuple(
            _compared(name, outputs[name], expected, labels if index == 0 else None, judges[name])
            for index, (name, expected) in enumerate(reference.items())
        )


def eased(tolerance: Tolerance, had: Parity, answers: float, decibels: float) -> Tolerance:
    """A tolerance, lowered to what an output had where that is less, minus a margin.

    Args:
        tolerance: what is asked otherwise.
        had: how the output compared before, on the same inputs.
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
    """Where the largest of the last axis is in the same place."""
    chosen = np.take_along_axis(expected, found.argmax(-1)[..., None], -1)[..., 0]
    largest = expected.max(-1)
    return chosen >= largest - FLOAT_ERROR * np.abs(largest)


def _same_side(found: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Where values are on the same side of 0.5."""
    same = (found >= 0.5) == (expected >= 0.5)
    return same | (np.abs(expected - 0.5) <= FLOAT_ERROR)


def _near(found: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Where values are within a tenth of the range of their place in the last axis.

    Of a place that does not vary, within a hundredth of the whole output's range.
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


def _scaled(bound: float | None, factor: float) -> float | None:
    return None if bound is None else bound * factor
