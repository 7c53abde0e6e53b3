"""Verification of one artifact: it runs in its real runtime and is compared with Keras."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .children.arrays import load_arrays, save_arrays
from .children.batches import Outputs
from .children.process import NO_LIMITS, Limits, RuntimeFailure
from .formats import Artifact
from .proof.manifest import size_and_hash
from .proof.parity import Parity, compare, differing_shapes, eased
from .proof.proof import Judge
from .proof.report import ArtifactReport, Elsewhere
from .proof.tolerance import Tolerance
from .runtimes.table import RUNTIMES, run_artifact

# Tolerance on random inputs. A network is undecided about them, and rounding decides which value is
# largest.
DRAWN = Tolerance(largest_error=None, agreement=None)
# The SQNR in another runtime may be this many decibels lower than in the artifact's own. That is
# twice the noise.
NOISIER = 3.0


@dataclass(frozen=True)
class Subject:
    """The inputs and answers on which artifacts are compared, and the rules of the comparison.

    Attributes:
        inputs: path of an `.npz` with one array for each input.
        reference: Keras's outputs by name.
        labels: the right answers, or `None`.
        drawn: whether the inputs were drawn at random; then only float32 is judged.
        judges: key of `judging.JUDGES` for each output, by its name.
        asked: tolerances that replace those of the table, by artifact and output.
        by_agreement: whether agreement and accuracy are meaningful for these outputs.
        judge: function that replaces agreement and accuracy, or `None`.
        also: further runtimes that are installed.
        limits: limits of the child processes in which artifacts run.
    """

    inputs: Path
    reference: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    drawn: bool = False
    judges: dict[str, str] = field(default_factory=dict)
    asked: dict[tuple[str, str], Tolerance] = field(default_factory=dict)
    by_agreement: bool = True
    judge: Judge | None = None
    also: Sequence[str] = ()
    limits: Limits = NO_LIMITS

    def tolerance(self, artifact: Artifact, output: str) -> Tolerance:
        """Return the tolerance of an output of an artifact on these inputs."""
        if self.drawn or not self.by_agreement:
            return replace(DRAWN, largest_error=artifact.tolerance.largest_error)
        return self.asked.get((artifact.name, output), artifact.tolerance)

    def some(self, count: int, artifact: Artifact, answers: Outputs) -> Subject:
        """Return at most `count` evenly spaced inputs, for a further runtime of the artifact.

        With so few inputs, agreement has coarse steps. Therefore one more answer may differ than in
        the artifact's own runtime. The noise may be twice as large. Accuracy is not judged.
        """
        total = len(next(iter(self.reference.values())))
        index = np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
        path = self.inputs.with_name(f"some_{count}.npz")
        if not path.exists():
            save_arrays(path, {name: v[index] for name, v in load_arrays(self.inputs).items()})
        reference = {name: value[index] for name, value in self.reference.items()}
        few = {name: value[index] for name, value in answers.items()}
        asked = {}
        for each in compare(few, reference, None, self.judges):
            tolerance = replace(self.tolerance(artifact, each.output), accuracy_drop=None)
            asked[artifact.name, each.output] = eased(tolerance, each, 1 / len(index), NOISIER)
        return replace(
            self,
            inputs=path,
            reference=reference,
            labels=None if self.labels is None else self.labels[index],
            judge=None,
            asked=asked,
        )


def verify_artifact(
    artifact: Artifact, directory: Path, subject: Subject, notes: Sequence[str] = ()
) -> tuple[ArtifactReport, Outputs]:
    """Run an artifact on the subject's inputs, and compare it with Keras.

    Args:
        artifact: the artifact's row of the table.
        directory: the directory of the artifact.
        subject: the inputs and Keras's answers.
        notes: notes from writing the artifact.

    Returns:
        The report, and the outputs of the artifact. They are empty if the runtime refuses it.
    """
    path = directory / artifact.name
    size, digest = size_and_hash(path)
    outputs, facts, parity, missed = _compared(artifact.runtime, path, subject, artifact)
    if subject.judge and parity:
        missed += subject.judge(artifact.name, artifact.precision, outputs, subject.reference)
    elsewhere = []
    # If its own runtime refuses it, it is not tried in others.
    for runtime in (each for each in artifact.also if each in subject.also and parity):
        few = subject.some(RUNTIMES[runtime].most, artifact, outputs)
        _, told, found, misses = _compared(runtime, path, few, artifact)
        facts += told
        images = len(next(iter(few.reference.values())))
        elsewhere.append(Elsewhere(runtime, images, found, tuple(misses)))
    report = ArtifactReport(
        name=artifact.name,
        format=artifact.format,
        precision=artifact.precision,
        runtime=artifact.runtime,
        bytes=size,
        sha256=digest,
        parity=parity,
        notes=(*notes, *facts),
        missed=tuple(missed),
        judged=subject.judge is not None
        or any(subject.tolerance(artifact, output).asks for output in subject.reference),
        elsewhere=tuple(elsewhere),
    )
    return report, outputs if parity else {}


def _compared(
    runtime: str, path: Path, subject: Subject, artifact: Artifact
) -> tuple[Outputs, list[str], tuple[Parity, ...], list[str]]:
    """Return outputs and notes of a file in a runtime, its parity, and the bounds it misses."""
    try:
        outputs, facts = run_artifact(runtime, path, subject.inputs, subject.limits)
    except RuntimeFailure as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise
        return {}, [], (), [str(error)]
    missed = differing_shapes(outputs, subject.reference)
    if missed:
        return outputs, facts, (), missed
    parity = compare(outputs, subject.reference, subject.labels, subject.judges)
    missed = [
        miss for each in parity for miss in each.misses(subject.tolerance(artifact, each.output))
    ]
    return outputs, facts, parity, missed
