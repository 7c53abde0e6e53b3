"""The tolerance that an artifact must meet."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass

# Tolerance of float32, as a share of the largest value of an output.
FLOAT_ERROR = 1e-4


@dataclass(frozen=True)
class Tolerance:
    """The bounds that an artifact must meet to be shipped. `None` is reported but not judged.

    Attributes:
        largest_error: largest difference from Keras in any output, as a share of the largest value
            that Keras gives there, or of 1 if that value is less than 1.
        agreement: smallest share of answers that are the same, as `judging.JUDGES` defines.
        accuracy_drop: largest loss of accuracy, as a share, if labels are given.
        sqnr: smallest signal to quantization noise ratio, in dB, of outputs other than classes.
    """

    largest_error: float | None = None
    agreement: float | None = None
    accuracy_drop: float | None = None
    sqnr: float | None = None

    @property
    def asks(self) -> bool:
        """Whether there is any bound to meet."""
        return any(bound is not None for bound in astuple(self))

    def __str__(self) -> str:
        bounds = {name: value for name, value in asdict(self).items() if value is not None}
        told = (f"{name.replace('_', ' ')} {value:g}" for name, value in bounds.items())
        return ", ".join(told) or "no bounds"
