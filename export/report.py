"""What an export came to: parity of each artifact, as data, as a table, as a manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .formats import Tolerance

# Of the layers that quantization costs most.
SHOWN = 4


class VerificationError(RuntimeError):
    """An artifact missed its tolerance, or its runtime refused it. Exit code 1."""

    def __init__(self, message: str, report: Report):
        super().__init__(message)
        self.report = report


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


class LayerError(NamedTuple):
    """What quantization costs at one operation.

    Attributes:
        layer: the Keras layer that it is of; the operation's own name if it is of none.
        operation: its kind.
        sqnr: signal to quantization noise ratio of its output, in dB.
    """

    layer: str
    operation: str
    sqnr: float


@dataclass(frozen=True)
class ArtifactReport:
    """One artifact: its file, its parity, whether it may be shipped.

    Attributes:
        name: the file's name.
        format: as in `formats.ARTIFACTS`.
        precision: as in `formats.ARTIFACTS`.
        bytes: its size.
        sha256: hash of the file; of a directory, of its files' names and contents in order.
        parity: one entry an output.
        notes: what writing and running it reported.
        missed: what it misses of its tolerance; empty means verified.
        layers: of a quantized TFLite file, the error of each operation, the worst first.
    """

    name: str
    format: str
    precision: str
    bytes: int
    sha256: str
    parity: tuple[Parity, ...]
    notes: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    layers: tuple[LayerError, ...] = ()

    def worst_layers(self) -> list[str]:
        """The layers that quantization costs most, in a line; none where it was not measured."""
        worst: dict[str, LayerError] = {}
        for error in self.layers:
            worst.setdefault(error.layer, error)
        shown = [f"{e.layer} {e.sqnr:.1f} dB ({e.operation})" for e in worst.values()][:SHOWN]
        return [f"worst layers: {', '.join(shown)}"] if shown else []

    @property
    def verified(self) -> bool:
        """Whether the artifact met its tolerance."""
        return not self.missed


@dataclass(frozen=True)
class Report:
    """The outcome of an export.

    Attributes:
        directory: where the artifacts are.
        inputs: what the artifacts take: an entry an input with its name, shape (the batch first),
            type, and the range of the values they were compared on.
        outputs: what they give: an entry an output with its name and shape.
        preprocessing: what happens to pixels, and where.
        images: how many inputs the artifacts were compared on.
        drawn: whether these were drawn at random.
        spread: largest difference between two inputs in Keras's own outputs, of the output that
            varies least; parity on outputs that do not vary proves nothing.
        accuracy: Keras's accuracy, where labels were given.
        artifacts: one entry an artifact.
        labels: class names, if given.
        options: how the artifacts were written.
        calibration_images: how many inputs the integer files were calibrated on.
        source: name and hash of the model's architecture and weights.
        versions: of the packages involved.
        warnings: what the reader should know before trusting the figures.
    """

    directory: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    preprocessing: dict[str, Any]
    images: int
    drawn: bool
    spread: float
    accuracy: float | None
    artifacts: tuple[ArtifactReport, ...]
    labels: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    calibration_images: int = 0
    source: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether every artifact met its tolerance."""
        return all(artifact.verified for artifact in self.artifacts)

    def rows(self) -> list[tuple[str, ...]]:
        """The table: one row an output of an artifact, under `COLUMNS`."""
        refused: list[tuple[str, ...]] = [
            (a.name, a.precision, f"{a.bytes / 2**20:.2f} MiB", "", "", "", "", "MISSED")
            for a in self.artifacts
            if not a.parity
        ]
        return refused + [
            (
                artifact.name,
                artifact.precision,
                f"{artifact.bytes / 2**20:.2f} MiB",
                f"{parity.largest_error:.2g}",
                "" if parity.sqnr is None else f"{parity.sqnr:.1f} dB",
                f"{parity.agreement:.2%}",
                "" if parity.accuracy is None else f"{parity.accuracy:.2%}",
                "verified" if artifact.verified else "MISSED",
            )
            for artifact in self.artifacts
            for parity in artifact.parity
        ]

    def markdown(self) -> str:
        """The table as Markdown, with what was noted below it."""
        table = [COLUMNS, ("---",) * len(COLUMNS), *self.rows()]
        lines = ["| " + " | ".join(row) + " |" for row in table]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.remarks())]) + "\n"

    def remarks(self) -> list[str]:
        """What writing, running and judging the artifacts brought up, a line each."""
        notes = [
            f"{a.name}: {text}"
            for a in self.artifacts
            for text in (*a.notes, *a.worst_layers(), *a.missed)
        ]
        return [*notes, *(f"warning: {warning}" for warning in self.warnings)]


COLUMNS = (
    "artifact",
    "precision",
    "size",
    "largest error",
    "SQNR",
    "top-1 agreement",
    "accuracy",
    "verdict",
)


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
    """Compare an artifact's outputs with Keras's, output by output."""
    parities = []
    for name, expected in reference.items():
        found = outputs[name]
        error = np.abs(found.astype("float64") - expected)
        top, expected_top = found.argmax(-1), expected.argmax(-1)
        same = top == expected_top if expected.shape[-1] > 1 else error <= 0.1 * np.ptp(expected)
        score, expected_score = accuracy(found, labels), accuracy(expected, labels)
        change = None if score is None or expected_score is None else score - expected_score
        parities.append(
            Parity(
                name,
                float(error.max()),
                float(error.mean()),
                float(np.abs(expected).max()),
                _sqnr(error, expected),
                float(np.mean(same)),
                score,
                change,
            )
        )
    return tuple(parities)


def _sqnr(error: np.ndarray, expected: np.ndarray) -> float | None:
    noise = float(np.mean(np.square(error)))
    signal = float(np.mean(np.square(expected.astype("float64"))))
    return 10 * float(np.log10(signal / noise)) if noise and signal else None


def _scaled(bound: float | None, factor: float) -> float | None:
    return None if bound is None else bound * factor
