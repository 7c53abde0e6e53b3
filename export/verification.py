"""One artifact, run in its real runtime and compared with Keras."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .arrays import load_arrays, save_arrays
from .batches import Outputs
from .child import RuntimeFailure
from .formats import Artifact, Tolerance
from .manifest import size_and_hash
from .parity import Parity, compare, differing_shapes
from .report import ArtifactReport, Elsewhere
from .runtimes import run_artifact

# How many inputs an artifact is run on in a runtime that is not its own.
ELSEWHERE = {"openvino": 200, "onnxruntime-web": 50}
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

    def first(self, count: int) -> Subject:
        """The first inputs, `count` at most, and the answers to them."""
        path = self.inputs.with_name(f"first_{count}.npz")
        if not path.exists():
            save_arrays(path, {name: v[:count] for name, v in load_arrays(self.inputs).items()})
        return replace(
            self,
            inputs=path,
            reference={name: value[:count] for name, value in self.reference.items()},
            labels=None if self.labels is None else self.labels[:count],
        )


def verify_artifact(
    artifact: Artifact, path: Path, subject: Subject, notes: list[str], also: Sequence[str] = ()
) -> tuple[ArtifactReport, Outputs]:
    """Run an artifact on the subject's inputs.

    Args:
        artifact: its row of the table.
        path: the file or directory.
        subject: what it is compared on.
        notes: what writing it reported.
        also: further runtimes that are installed.

    Returns:
        How it compares with Keras, and its outputs; none where the runtime refuses it.
    """
    size, digest = size_and_hash(path)
    tolerance = subject.tolerance(artifact)
    outputs, facts, parity, missed = _compared(artifact.runtime, path, subject, tolerance)
    elsewhere = []
    for runtime in artifact.also:
        if runtime in also:
            few = subject.first(ELSEWHERE[runtime])
            _, _, found, misses = _compared(runtime, path, few, tolerance)
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
        judged=tolerance.asks,
        elsewhere=tuple(elsewhere),
    )
    return report, outputs if parity else {}


def _compared(
    runtime: str, path: Path, subject: Subject, tolerance: Tolerance
) -> tuple[Outputs, list[str], tuple[Parity, ...], list[str]]:
    """What a file answers in a runtime, what that reports, the parity, and what it misses."""
    try:
        outputs, facts = run_artifact(runtime, path, subject.inputs)
    except RuntimeFailure as error:
        if os.strerror(errno.ENOSPC) in str(error):
            raise
        return {}, [], (), [str(error)]
    missed = differing_shapes(outputs, subject.reference)
    if missed:
        return outputs, facts, (), missed
    parity = compare(outputs, subject.reference, subject.labels)
    return outputs, facts, parity, [miss for each in parity for miss in each.misses(tolerance)]
