"""What an export came to, as data and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from keras_cbam.text import as_markdown

from ..runtimes.placement import Delegation
from ..tflite.layers import LayerError
from .judging import CLASSES, JUDGES
from .parity import Parity

REPORT = "report.md"
# Of the layers that quantization costs most.
SHOWN = 4


class VerificationError(RuntimeError):
    """An artifact missed its tolerance, or its runtime refused it. Exit code 1."""

    def __init__(self, message: str, report: Report):
        super().__init__(message)
        self.report = report


class InputRecord(TypedDict):
    """What an artifact takes.

    Attributes:
        name: of the input.
        shape: the batch first, `None` for a free size.
        dtype: the name of its type.
        range: of the values that artifacts were compared on.
    """

    name: str
    shape: list[int | None]
    dtype: str
    range: list[float]


class JudgedRecord(TypedDict, total=False):
    """What manifests of older versions do not tell of an output."""

    judge: str


class OutputRecord(JudgedRecord):
    """What an artifact gives.

    Attributes:
        name: of the output.
        shape: as of an input.
        judge: key of `judging.JUDGES`, how artifacts were compared.
    """

    name: str
    shape: list[int | None]


@dataclass(frozen=True)
class Elsewhere:
    """An artifact in a runtime that is not its own.

    Attributes:
        runtime: its name.
        images: how many inputs it was compared on.
        parity: one entry an output.
        missed: what it misses of the artifact's tolerance.
    """

    runtime: str
    images: int
    parity: tuple[Parity, ...]
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArtifactReport:
    """One artifact: its file, its parity, whether it may be shipped.

    Attributes:
        name: the file's name.
        format: as in `formats.ARTIFACTS`.
        precision: as in `formats.ARTIFACTS`.
        runtime: where it was compared, as in `formats.ARTIFACTS`.
        bytes: its size.
        sha256: hash of the file; of a directory, of its files' names and contents in order.
        parity: one entry an output.
        notes: what writing and running it reported.
        missed: what it misses of its tolerance.
        judged: whether its tolerance asks anything on these inputs.
        layers: of a quantized TFLite file, the error of each operation, the worst first.
        elsewhere: one entry a further runtime.
    """

    name: str
    format: str
    precision: str
    runtime: str
    bytes: int
    sha256: str
    parity: tuple[Parity, ...]
    notes: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    judged: bool = True
    layers: tuple[LayerError, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()

    def worst_layers(self) -> list[str]:
        """The layers that quantization costs most, in a line; none where it was not measured."""
        worst: dict[str, LayerError] = {}
        for error in self.layers:
            worst.setdefault(error.layer, error)
        shown = [f"{e.layer} {e.sqnr:.1f} dB ({e.operation})" for e in worst.values()][:SHOWN]
        return [f"worst layers: {', '.join(shown)}"] if shown else []

    @property
    def verdict(self) -> str:
        """`"verified"`, `"MISSED"`, or `"not judged"` where its tolerance asks nothing."""
        return _verdict(self.missed or any(each.missed for each in self.elsewhere), self.judged)


@dataclass(frozen=True)
class Report:
    """The outcome of an export.

    Attributes:
        directory: where the artifacts are.
        inputs: what the artifacts take.
        outputs: what they give.
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
        source: name of the model, and hash of its weights.
        versions: of the packages involved.
        warnings: what the reader should know before trusting the figures.
        delegations: where the operations of the artifacts run, if that was asked.
        by_agreement: whether agreement was asked of the artifacts.
        beside: further files that belong to the artifacts.
    """

    directory: str
    inputs: tuple[InputRecord, ...]
    outputs: tuple[OutputRecord, ...]
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
    delegations: tuple[Delegation, ...] = ()
    by_agreement: bool = True
    beside: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether every artifact was judged, and met its tolerance."""
        return all(artifact.verdict == "verified" for artifact in self.artifacts)

    @property
    def missed(self) -> tuple[str, ...]:
        """What the artifacts miss of their tolerances, each by name."""
        return tuple(
            f"{artifact.name} in {runtime}: {miss}"
            for artifact in self.artifacts
            for runtime, _, missed in _runs(artifact)
            for miss in missed
        )

    def rows(self) -> list[tuple[str, ...]]:
        """The table: one row an output of an artifact in a runtime, under `COLUMNS`."""
        return [
            row
            for artifact in self.artifacts
            for runtime, parity, missed in _runs(artifact)
            for row in self._rows(artifact, runtime, parity, _verdict(missed, artifact.judged))
        ]

    def _rows(
        self, artifact: ArtifactReport, runtime: str, parity: tuple[Parity, ...], verdict: str
    ) -> list[tuple[str, ...]]:
        size = f"{artifact.bytes / 2**20:.2f} MiB"
        if not parity:
            return [(artifact.name, artifact.precision, runtime, size, "", "", "", "", verdict)]
        return [
            (
                artifact.name if len(self.outputs) == 1 else f"{artifact.name}: {each.output}",
                artifact.precision,
                runtime,
                size,
                f"{each.largest_error:.2g}",
                "" if each.sqnr is None else f"{each.sqnr:.1f}",
                f"{each.agreement:.2%}",
                "" if each.accuracy is None else f"{each.accuracy:.2%}",
                verdict,
            )
            for each in parity
        ]

    def markdown(self) -> str:
        """The tables as Markdown, with what was noted between them."""
        remarks = (f"- {as_markdown(note)}" for note in self.remarks())
        lines = [*_table(COLUMNS, self.rows()), "", *remarks]
        if self.delegations:
            lines += ["", *_table(DELEGATION_COLUMNS, self.delegations)]
        return "\n".join(lines) + "\n"

    def remarks(self) -> list[str]:
        """What writing, running and judging the artifacts brought up, a line each."""
        notes = [
            f"{a.name}: {text}" for a in self.artifacts for text in (*a.notes, *a.worst_layers())
        ]
        warnings = (f"warning: {warning}" for warning in self.warnings)
        return [*notes, *self._judges(), *self.missed, *warnings]

    def _judges(self) -> list[str]:
        """How outputs were judged that are no scores of classes, a line each."""
        if self.drawn or not self.by_agreement:
            return []
        judges = {each["name"]: each.get("judge", CLASSES) for each in self.outputs}
        return [
            f"{name} is compared as {judge}: an answer is the same if {JUDGES[judge]}"
            for name, judge in judges.items()
            if judge != CLASSES
        ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = (columns, ["---"] * len(columns), *rows)
    return ["| " + " | ".join(map(as_markdown, line)) + " |" for line in lines]


DELEGATION_COLUMNS = ("artifact", "on", "runs there", "does not, and why where it is told")
COLUMNS = (
    "artifact",
    "precision",
    "runtime",
    "size",
    "largest error",
    "SQNR (dB)",
    "agreement",
    "accuracy",
    "verdict",
)


def _runs(
    artifact: ArtifactReport,
) -> Iterator[tuple[str, tuple[Parity, ...], tuple[str, ...]]]:
    """The artifact in its own runtime and in others: which, the parity and what it misses."""
    yield artifact.runtime, artifact.parity, artifact.missed
    for each in artifact.elsewhere:
        yield each.runtime, each.parity, each.missed


def _verdict(missed: Any, judged: bool) -> str:
    return "MISSED" if missed else "verified" if judged else "not judged"
