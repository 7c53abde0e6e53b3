"""Repeats the verification of an export, from its manifest and its reference."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.files import check_writable, write_text
from keras_cbam.schema import short

from .children.arrays import save_arrays
from .children.process import Limits
from .formats import ARTIFACTS, Artifact
from .proof.judging import CLASSES, JUDGES, VALUES, can_hold_classes
from .proof.manifest import read_manifest, versions, why_changed
from .proof.parity import compare, eased
from .proof.proof import is_safe
from .proof.reference import REFERENCE, Arrays, read_reference
from .proof.report import REPORT, ArtifactReport, Report
from .proof.tolerance import Tolerance
from .proof.warnings import spread_of, verification_warnings
from .publish import check_ours, space_needed
from .request import choose_runtimes
from .runtimes.placement import delegations
from .runtimes.table import require_runtime
from .verification import Subject, verify_artifact

# Difference in SQNR between machines that is accepted, in decibels.
ROUNDING = 0.1


def verify(
    directory: str | Path,
    *,
    runtimes: Sequence[str] | None = None,
    write_report: bool = False,
    limits: Limits | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Run the artifacts of an export on its reference inputs, and compare with Keras's answers.

    This needs the runtimes, but neither the model nor Keras's backend. Each artifact must have the
    hash in the manifest and meet its tolerance. There are few reference inputs, so agreement and
    SQNR need not be higher than they were on these inputs at the export. Accuracy is not reported,
    because the right answers are not stored.

    Args:
        directory: the directory that `export_model` wrote.
        runtimes: further runtimes, as for `export_model`.
        write_report: whether to write `report.md` there, as `export_model` does.
        limits: time and memory limits for each artifact in each runtime; by default 600 s and
            8 GiB.
        progress: function that is called with a line of text for each step.

    Returns:
        A `Report` for this machine. `Report.missed` lists the failures.

    Raises:
        InputError: if the directory has no manifest or reference, or they are damaged.
        MissingPackageError: if a runtime is not installed.
    """
    say = progress or (lambda line: None)
    limits = limits or Limits()
    directory = Path(directory)
    before = read_manifest(directory)
    inputs, answers = read_reference(directory / REFERENCE, before)
    rows = {artifact.name: artifact.judged_by(before.tolerances) for artifact in ARTIFACTS}
    unknown = sorted({entry.name for entry in before.artifacts} - set(rows))
    if unknown:
        raise InputError(
            f"Expected artifacts of this version in {directory}. Received: {unknown[0]}"
        )
    for entry in before.artifacts:
        require_runtime(rows[entry.name].runtime)
    also = choose_runtimes(runtimes, [entry.name for entry in before.artifacts])
    if write_report:
        check_writable(directory)
        if not before.delegations:
            check_ours(directory, [REPORT])
    judges = _judges(before, answers["keras"])
    with tempfile.TemporaryDirectory() as folder, space_needed(Path(folder)):
        subject = Subject(
            Path(folder) / "inputs.npz",
            answers["keras"],
            drawn=before.drawn,
            by_agreement=before.by_agreement,
            judges=judges,
            asked=_asked(judges, rows, answers),
            also=also,
            limits=limits,
        )
        save_arrays(subject.inputs, inputs)
        found = []
        for entry in before.artifacts:
            say(f"{entry.name}: verifying")
            found.append(_again(entry, rows[entry.name], directory, subject))
    images, spread = len(next(iter(inputs.values()))), spread_of(answers["keras"])
    report = replace(
        before,
        images=images,
        spread=spread,
        accuracy=None,
        artifacts=tuple(found),
        changed=_changed(before, directory),
        versions=versions(),
        warnings=verification_warnings(images, spread, before.drawn),
        delegations=(),
    )
    if write_report:
        say("where the operations run")
        names = [each.name for each in found if each.parity]
        report = replace(report, delegations=delegations(directory, names, limits))
        write_text(directory / REPORT, report.markdown())
    return report


def _changed(before: Report, directory: Path) -> tuple[str, ...]:
    """Return the companions that are not the exported ones, each with the reason."""
    found = {
        name: why_changed(directory / name, sha256)
        if is_safe(name)
        else "expected a name of letters, digits, _, . and -"
        for name, sha256 in before.beside_sha256.items()
    }
    return tuple(f"{name}: {why}" for name, why in found.items() if why)


def _judges(before: Report, answers: Arrays) -> dict[str, str]:
    """Return the judge of each output. Old manifests do not name it; then the old rule is used."""
    judges = {}
    for output in before.outputs:
        name = output["name"]
        holds = can_hold_classes(answers[name])
        judge = output.get("judge", CLASSES if holds else VALUES)
        fitting = [each for each in JUDGES if holds or each != CLASSES]
        if judge not in fitting:
            raise InputError(
                f"Expected judge as one of {', '.join(fitting)} for {name} in the manifest. "
                f"Received: {short(judge)}"
            )
        judges[name] = judge
    return judges


def _asked(
    judges: dict[str, str], rows: dict[str, Artifact], answers: dict[str, Arrays]
) -> dict[tuple[str, str], Tolerance]:
    """Return tolerances that ask no more of an output than its earlier result on these inputs."""
    return {
        (name, each.output): eased(artifact.tolerance, each, answers=0.0, decibels=ROUNDING)
        for name, artifact in rows.items()
        if name in answers
        for each in compare(answers[name], answers["keras"], None, judges)
    }


def _again(
    entry: ArtifactReport, artifact: Artifact, directory: Path, subject: Subject
) -> ArtifactReport:
    nothing = replace(entry, parity=(), notes=(), layers=(), elsewhere=())
    if changed := why_changed(directory / entry.name, entry.sha256, entry.bytes):
        return replace(nothing, missed=(changed,))
    found = verify_artifact(artifact, directory, subject)[0]
    before = [*entry.missed, *(miss for each in entry.elsewhere for miss in each.missed)]
    missed = tuple(f"when it was exported, {miss}" for miss in before)
    return replace(found, missed=(*found.missed, *missed))
