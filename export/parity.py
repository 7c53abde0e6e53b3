"""How an artifact's outputs compare with Keras's, and what they miss of a tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .formats import Tolerance


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
        agreement: share of inputs on which the largest value is in the same place; of an output of
            one value, share of inputs on which it is within a tenth of Keras's range.
        accuracy: share of right answers, where labels were given.
        accuracy_change: that share minus Keras's.
    """

    output: str
    largest_error: float
    mean_error: float
    magnitude: float
    sqnr: float | None
    agreement: float
    accuracy: float | None = None
    accuracy_change: float | None = None

    def misses(self, tolerance: Tolerance) -> list[str]:
        """What this output misses of `tolerance`, in words; empty if nothing."""
        checks = (
            (
                "largest error",
                self.largest_error,
                "<=",
                _scaled(tolerance.largest_error, max(1.0, self.magnitude)),
            ),
            ("top-1 agreement", self.agreement, ">=", tolerance.agreement),
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


def accuracy(output: np.ndarray, labels: np.ndarray | None) -> float | None:
    """Share of right answers; `None` without labels or without a score for each class."""
    if labels is None or output.ndim != 2 or output.shape[1] == 1:
        return None
    return float(np.mean(output.argmax(-1) == labels))


def differing_shapes(outputs: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Where an artifact's outputs cannot be compared with Keras's, in words; empty if nowhere."""
    found, expected = ({n: v.shape for n, v in each.items()} for each in (outputs, reference))
    return [] if found == expected else [f"outputs {found}, expected {expected}"]


def compare(outputs: dict[str, Any], reference: dict[str, Any], labels: Any) -> tuple[Parity, ...]:
    """Compare an artifact's outputs with Keras's, output by output; labels are of the first."""
    # The figures of values that are not finite, or nearly so, are not finite either.
    with np.errstate(over="ignore", invalid="ignore"):
        return tuple(
            _compared(name, outputs[name], expected, labels if index == 0 else None)
            for index, (name, expected) in enumerate(reference.items())
        )


def _compared(name: str, found: np.ndarray, expected: np.ndarray, labels: Any) -> Parity:
    found, expected = found.astype("float64"), expected.astype("float64")
    error = np.abs(found - expected)
    if expected.ndim > 1 and expected.shape[-1] > 1:
        same = found.argmax(-1) == expected.argmax(-1)
    else:
        same = error <= 0.1 * np.ptp(expected)
    score, expected_score = accuracy(found, labels), accuracy(expected, labels)
    return Parity(
        output=name,
        largest_error=float(error.max()),
        mean_error=float(error.mean()),
        magnitude=float(np.abs(expected).max()),
        sqnr=_sqnr(error, expected),
        agreement=float(np.mean(same)),
        accuracy=score,
        accuracy_change=None if score is None or expected_score is None else score - expected_score,
    )


def _sqnr(error: np.ndarray, expected: np.ndarray) -> float | None:
    noise = float(np.mean(np.square(error)))
    signal = float(np.mean(np.square(expected)))
    return 10 * float(np.log10(signal / noise)) if noise < np.inf and noise and signal else None


def _scaled(bound: float | None, factor: float) -> float | None:
    return None if bound is None else bound * factor
