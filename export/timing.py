"""How long artifacts take beside one another, on this machine."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_cbam.errors import InputError

from .children.arrays import load_arrays, save_arrays
from .children.process import Limits, RuntimeFailure, run_in_child
from .formats import ARTIFACTS
from .proof.manifest import read_manifest, why_changed
from .proof.reference import REFERENCE, Arrays, read_reference
from .runtimes.table import require_runtime

# Those that `runtimes.stopwatch` runs.
TIMED = ("litert", "onnxruntime")


@dataclass(frozen=True)
class Timing:
    """The time of one artifact over that of another.

    Attributes:
        name: the artifact.
        base: the artifact that it is compared with.
        minimum: its shortest time over the other's shortest.
        median: its median time over the other's median.
        milliseconds: its shortest time, which another machine or another hour will not give.
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
        directory: what `export` wrote.
        against: another export, of a model with the same inputs; each file is compared with that of
            the same name there. By default files are compared with the first of their runtime.
        threads: that each runtime may use.
        runs: how often each file is run, after three that do not count.
        limits: time and memory that all of it may take; by default 600 s and 8 GiB.

    Returns:
        A `Timing` for each file, in the order of the manifest.

    Raises:
        InputError: if a directory has no manifest, no file that is timed, or none in common; if a
            file is not the one that was exported, or a runtime refuses it.
        MissingPackageError: if a runtime is not installed.
    """
    directory = Path(directory)
    inputs = _one_row(directory)
    ours = _timed(directory)
    if against is None:
        first = {runtime: name for name, runtime in reversed(ours.items())}
        bases = {
            name: (directory / first[runtime], first[runtime]) for name, runtime in ours.items()
        }
    else:
        theirs = _timed(Path(against))
        ours = {name: runtime for name, runtime in ours.items() if name in theirs}
        bases = {name: (Path(against) / name, str(Path(against) / name)) for name in ours}
    if not ours:
        raise InputError(f"Expected TFLite or ONNX files to time, in both exports. {directory}")
    for runtime in set(ours.values()):
        require_runtime(runtime)
    files = list(
        dict.fromkeys(
            (runtime, str(path))
            for name, runtime in ours.items()
            for path in (bases[name][0], directory / name)
        )
    )
    seconds = dict(
        zip(files, _run(files, inputs, (threads, runs), limits or Limits()), strict=True)
    )
    found = []
    for name, runtime in ours.items():
        of, over = seconds[runtime, str(directory / name)], seconds[runtime, str(bases[name][0])]
        found.append(
            Timing(
                name,
                bases[name][1],
                float(of.min() / over.min()),
                float(np.median(of) / np.median(over)),
                float(of.min() * 1e3),
            )
        )
    return found


def _run(
    files: list[tuple[str, str]], inputs: Arrays, counts: tuple[int, int], limits: Limits
) -> list[np.ndarray]:
    threads, runs = counts
    asked = json.dumps({"threads": threads, "runs": runs, "files": files})
    with tempfile.TemporaryDirectory() as folder:
        stored, results = Path(folder) / "inputs.npz", Path(folder) / "seconds.npz"
        save_arrays(stored, inputs)
        try:
            run_in_child("runtimes.stopwatch", asked, stored, results, limits=limits)
        except RuntimeFailure as error:
            raise InputError(f"The files cannot be timed: {error}") from error
        seconds = load_arrays(results)
        return [seconds[str(index)] for index in range(len(files))]


def _timed(directory: Path) -> dict[str, str]:
    """The runtime of each file that is timed, by name; those that are not what they were raise."""
    runtimes = {artifact.name: artifact.runtime for artifact in ARTIFACTS}
    found = {}
    for entry in read_manifest(directory).artifacts:
        if runtimes.get(entry.name) in TIMED:
            if changed := why_changed(directory / entry.name, entry):
                raise InputError(f"{directory / entry.name} cannot be timed: {changed}.")
            found[entry.name] = runtimes[entry.name]
    return found


def _one_row(directory: Path) -> Arrays:
    inputs, _ = read_reference(directory / REFERENCE, read_manifest(directory))
    return {name: values[:1] for name, values in inputs.items()}
