"""One artifact, run in its real runtime and compared with Keras."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .child import RuntimeFailure
from .formats import Artifact, Tolerance
from .manifest import size_and_hash
from .parity import Parity, compare, differing_shapes
from .report import ArtifactReport
from .runtimes import run_artifact

# On inputs that mean nothing to a network it is in doubt, and rounding decides what is largest.
DRAWN = Tolerance(largest_error=None, agreement=None)


@dataclass(frozen=True)
class Subject:
    """What artifacts are compared on.

    Attributes:
        inputs: path of an `.npz` with one array for each input.
        reference: Keras's outputs by name.
        labels: the right answers, or `None`.
        drawn: whether the inputs were drawn at random; then only float32 is judged.
        agreements: smallest agreement asked of artifacts that is not the table's, by name.
    """

    inputs: Path
    reference: dict[str, np.ndarray]
    labels: np.ndarray | None = None
    drawn: bool = False
    agreements: dict[str, float] = field(default_factory=dict)

    def tolerance(self, artifact: Artifact) -> Tolerance:
        """What an artifact must meet on these inputs."""
        asked = artifact.tolerance
        if self.drawn:
            return replace(DRAWN, largest_error=asked.largest_error)
        return replace(asked, agreement=self.agreements.get(artifact.name, asked.agreement))


def verify_artifact(
    artifact: Artifact, path: Path, subject: Subject, notes: list[str]
) -> tuple[ArtifactReport, dict[str, np.ndarray]]:
    """Run an artifact on the subject's inputs.

    Args:
        artifact: its row of the table.
        path: the file or directory.
        subject: what it is compared on.
        notes: what writing it reported.

    Returns:
        How it compares with Keras, and its outputs; none where the runtime refuses it.
    """
    size, digest = size_and_hash(path)
    tolerance = subject.tolerance(artifact)
    parity: tuple[Parity, ...] = ()
    outputs: dict[str, Any] = {}
    try:
        outputs, facts = run_artifact(artifact.runtime, path, subject.inputs)
        notes = [*notes, *facts]
        missed = differing_shapes(outputs, subject.reference)
        if not missed:
            parity = compare(outputs, subject.reference, subject.labels)
            missed = [miss for each in parity for miss in each.misses(tolerance)]
    except RuntimeFailure as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise
        missed = [str(error)]
    report = ArtifactReport(
        name=artifact.name,
        format=artifact.format,
        precision=artifact.precision,
        bytes=size,
        sha256=digest,
        parity=parity,
        notes=tuple(notes),
        missed=tuple(missed),
        judged=tolerance.asks,
    )
    return report, {} if missed and not parity else outputs
