"""Times artifacts on this machine and compares them with one another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_cbam.errors import InputError, refused

from .children.process import Limits, RuntimeFailure, run_in_child
from .formats import ARTIFACTS
from .proof.manifest import read_manifest, why_changed
from .proof.reference import REFERENCE, read_reference
from .runtimes.table import require_runtime

# The runtimes that `runtimes.stopwatch` supports.
TIMED = ("litert", "onnxruntime")


@dataclass(frozen=True)
class Timing:
    """The time of one artifact, divided by that of another.

    Attributes:
        name: the artifact.
        base: the artifact with which it is compared.
        minimum: its shortest time divided by the other's shortest time.
        median: its median time divided by the other's median time.
        milliseconds: its shortest time. It depends on the machine and its load.
    """

    name: str
    base: str
    minimum: float
    median: float
    milliseconds: float


def time_artifacts(
    directory: str | Path,
    against: str | Path | None = None,
    *,
    threads: int = 1,
    runs: int = 30,
    limits: Limits | None = None,
) -> list[Timing]:
    """Time the TFLite and ONNX files of an export, in turn in one process, on one input.

    Args:
        directory: the directory that `export_model` wrote.
        against: directory of another export, of a model with the same inputs. Each file is compared
            with the file of the same name there. By default, files are compared with the first file
            of the same runtime.
        threads: number of threads that each runtime may use.
        runs: number of timed runs of each file, after three runs that do not count.
        limits: time and memory limits of the whole measurement; by default 600 s and 8 GiB.

    Returns:
        A `Timing` for each file, in the order of the manifest.

    Raises:
        InputError: if a directory has no manifest or no file that can be timed; if two exports have
            no such file in common; if a file is not the exported one, or a runtime refuses it.
        MissingPackageError: if a runtime is not installed.
    """
    directory = Path(directory)
    inputs, _ = read_reference(directory / REFERENCE, read_manifest(directory))
    ours = _timed(directory)
    if against is None:
        first = {runtime: directory / name for name, runtime in reversed(ours.items())}
        bases = {name: first[runtime] for name, runtime in ours.items()}
    else:
        theirs = _timed(Path(against))
        bases = {name: Path(against) / name for name in ours if name in theirs}
    if not bases:
        raise InputError(
            "Expected TFLite or ONNX files to time, with the same names in both exports if two are "
            f"compared. Received: {directory}"
        )
    runtimes: dict[str, str] = {}
    for name, base in bases.items():
        for path in (base, directory / name):
            runtimes[str(path)] = ours[name]
    for runtime in set(runtimes.values()):
        require_runtime(runtime)
    asked = json.dumps({"threads": threads, "runs": runs, "files": list(runtimes.items())})
    one_row = {name: values[:1] for name, values in inputs.items()}
    with refused("The files cannot be timed: ", only=(RuntimeFailure,), told=str):
        found = run_in_child("runtimes.stopwatch", asked, one_row, limits=limits or Limits())
    seconds = dict(zip(runtimes, found.values(), strict=True))
    timings = []
    for name, base in bases.items():
        of, over = seconds[str(directory / name)], seconds[str(base)]
        timings.append(
            Timing(
                name,
                base=base.name if against is None else str(base),
                minimum=float(of.min() / over.min()),
                median=float(np.median(of) / np.median(over)),
                milliseconds=float(of.min() * 1e3),
            )
        )
    return timings


def _timed(directory: Path) -> dict[str, str]:
    """Return the runtime of each file to time, by name. Raise if a file has changed."""
    runtimes = {artifact.name: artifact.runtime for artifact in ARTIFACTS}
    found = {}
    for entry in read_manifest(directory).artifacts:
        if runtimes.get(entry.name) in TIMED:
            if changed := why_changed(directory / entry.name, entry.sha256, entry.bytes):
                raise InputError(f"{directory / entry.name} cannot be timed: {changed}.")
            found[entry.name] = runtimes[entry.name]
    return found
