"""The result of an export, as data and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from keras_cbam.text import as_markdown

from ..runtimes.placement import Delegation
from ..tflite.layers import LayerError
from .judging import CLASSES, JUDGES
from .parity import Parity
from .tolerance import Tolerance

REPORT = "report.md"
# Number of layers with the largest quantization error that are shown.
SHOWN = 4


class VerificationError(RuntimeError):
    """An artifact missed its tolerance, or its runtime refused it. Exit code 1."""

    def __init__(self, message: str, report: Report):
        super().__init__(message)
        self.report = report


class InputRecord(TypedDict):
    """An input of the artifacts.

    Attributes:
        name: name of the input.
        shape: shape with the batch first, `None` for free sizes.
        dtype: name of the data type.
        range: smallest and largest value on which artifacts were compared.
    """

    name: str
    shape: list[int | None]
    dtype: str
    range: list[float]


class JudgedRecord(TypedDict, total=False):
    """The fields of an output that manifests of older versions do not have."""

    judge: str


class OutputRecord(JudgedRecord):
    """An output of the artifacts.

    Attributes:
        name: name of the output.
        shape: shape with the batch first, `None` for free sizes.
        judge: key of `judging.JUDGES`, the way in which artifacts were compared.
    """

    name: str
    shape: list[int | None]


@dataclass(frozen=True)
class Elsewhere:
    """The result of an artifact in a further runtime.

    Attributes:
        runtime: name of the runtime.
        images: number of inputs on which it was compared.
        parity: one entry per output.
        missed: the bounds of the artifact's tolerance that it misses.
    """

    runtime: str
    images: int
    parity: tuple[Parity, ...]
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArtifactReport:
    """One artifact: its file, its parity, and whether it may be shipped.

    Attributes:
        name: name of the file.
        format: as in `formats.ARTIFACTS`.
        precision: as in `formats.ARTIFACTS`.
        runtime: the runtime in which it was compared, as in `formats.ARTIFACTS`.
        bytes: size in bytes.
        sha256: hash of the file; for a directory, of the names and contents of its files in order.
        parity: one entry per output.
        notes: notes from writing and running it.
        missed: the bounds of its tolerance that it misses.
        judged: whether its tolerance has any bound on these inputs.
        layers: for a quantized TFLite file, the error of each operation, the worst first.
        elsewhere: one entry per further runtime.
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
        """Return the layers with the largest quantization error, in a line, if it was measured."""
        worst: dict[str, LayerError] = {}
        for error in self.layers:
            worst.setdefault(error.layer, error)
        shown = [f"{e.layer} {e.sqnr:.1f} dB ({e.operation})" for e in worst.values()][:SHOWN]
        return [f"worst layers: {', '.join(shown)}"] if shown else []

    @property
    def verdict(self) -> str:
        """`"verified"`, `"MISSED"`, or `"not judged"` if its tolerance has no bounds."""
        return _verdict(self.missed or any(each.missed for each in self.elsewhere), self.judged)


@dataclass(frozen=True)
class Report:
    """The outcome of an export.

    Attributes:
        directory: the directory of the artifacts.
        inputs: the inputs of the artifacts.
        outputs: the outputs of the artifacts.
        preprocessing: the preprocessing of pixels, and where it happens.
        images: number of inputs on which the artifacts were compared.
        drawn: whether these inputs were drawn at random.
        spread: largest difference between two inputs in Keras's own outputs, for the output that
            varies least. Parity on outputs that do not vary proves nothing.
        accuracy: Keras's accuracy, if labels were given.
        artifacts: one entry per artifact.
        labels: class names, if given.
        options: the export options.
        calibration_images: number of inputs on which the integer files were calibrated.
        source: name of the model, and hash of its weights.
        versions: versions of the packages involved.
        warnings: warnings to read before trusting the figures.
        delegations: where the operations of the artifacts run, if a report was requested.
        by_agreement: whether the artifacts were judged by agreement.
        beside: names of further files that belong to the artifacts.
        beside_sha256: the hashes of these files by name. Manifests of 0.1 have none.
        tolerances: tolerances that replaced those of the table of formats, by the artifact's name.
        changed: further files that are not the exported ones, each with the reason.
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
    beside_sha256: dict[str, str] = field(default_factory=dict)
    tolerances: dict[str, Tolerance] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether every artifact was judged and meets its tolerance, and no file is changed."""
        return not self.changed and all(each.verdict == "verified" for each in self.artifacts)

    @property
    def missed(self) -> tuple[str, ...]:
        """The missed tolerances, each with the artifact and the runtime."""
        missed = (
            f"{artifact.name} in {runtime}: {miss}"
            for artifact in self.artifacts
            for runtime, _, missed in _runs(artifact)
            for miss in missed
        )
        return (*missed, *self.changed)

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table under `COLUMNS`: one row per artifact, runtime and output."""
        return [
            row
            for artifact in self.artifacts
            for runtime, parity, missed in _runs(artifact)
            for row in self._rows(artifact, runtime, parity, _verdict(missed, artifact.judged))
        ]

    def _rows(
        self, artifact: ArtifactReport, runtime: str, parity: tuple[Parity, ...], verdict: str
    ) -> list[tuple[str, ...]]:
        about = (artifact.precision, runtime, f"{artifact.bytes / 2**20:.2f} MiB")
        if not parity:
            return [(artifact.name, *about, "", "", "", "", verdict)]
        return [
            (
                artifact.name if len(self.outputs) == 1 else f"{artifact.name}: {each.output}",
                *about,
                f"{each.largest_error:.2g}",
                "" if each.sqnr is None else f"{each.sqnr:.1f}",
                f"{each.agreement:.2%}",
                "" if each.accuracy is None else f"{each.accuracy:.2%}",
                verdict,
            )
            for each in parity
        ]

    def markdown(self) -> str:
        """Return the tables as Markdown, with the remarks between them."""
        remarks = (f"- {as_markdown(note)}" for note in self.remarks())
        lines = [*_table(COLUMNS, self.rows()), "", *remarks]
        if self.delegations:
            lines += ["", *_table(DELEGATION_COLUMNS, self.delegations)]
        return "\n".join(lines) + "\n"

    def remarks(self) -> list[str]:
        """Return the notes, missed tolerances and warnings, one line each."""
        notes = [
            f"{a.name}: {text}" for a in self.artifacts for text in (*a.notes, *a.worst_layers())
        ]
        warnings = (f"warning: {warning}" for warning in self.warnings)
        own = [
            f"{name} is judged by {tolerance}"
            for name, tolerance in self.tolerances.items()
            if not self.drawn
        ]
        return [*notes, *self._judges(), *own, *self.missed, *warnings]

    def _judges(self) -> list[str]:
        """Return how outputs other than class scores were judged, one line each."""
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


DELEGATION_COLUMNS = ("artifact", "on", "runs there", "does not (why, if known)")
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
    """Yield runtime, parity and missed bounds of an artifact, first for its own runtime."""
    yield artifact.runtime, artifact.parity, artifact.missed
    for each in artifact.elsewhere:
        yield each.runtime, each.parity, each.missed


def _verdict(missed: Any, judged: bool) -> str:
    return "MISSED" if missed else "verified" if judged else "not judged"
