"""Where the operations of an artifact run, which fall back, and which only move values."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..children.process import NO_LIMITS, Limits, RuntimeFailure, run_in_child
from .xnnpack import counted


class Delegation(NamedTuple):
    """The placement of the operations of an artifact on one accelerator.

    Attributes:
        artifact: name of the file.
        accelerator: a key of `PROBES`. For `"layout"`, operations that compute count as inside.
        inside: the part of the graph that runs there.
        outside: the operations that do not run there, with the reason if it is known.
    """

    artifact: str
    accelerator: str
    inside: str
    outside: str


def delegations(
    folder: Path, names: Iterable[str], limits: Limits = NO_LIMITS
) -> tuple[Delegation, ...]:
    """Query each installed tool about each artifact.

    Args:
        folder: the folder of the artifacts.
        names: names of their files.
        limits: limits of the child processes.
    """
    found = []
    for name in names:
        for accelerator, (suffix, package, probe) in PROBES.items():
            if name.endswith(suffix) and importlib.util.find_spec(package):
                try:
                    found.append(Delegation(name, accelerator, *probe(folder / name, limits)))
                except RuntimeFailure as error:
                    found.append(Delegation(name, accelerator, "", str(error)))
    return tuple(found)


def _answer(module: str, path: Path, limits: Limits) -> tuple[Any, list[str]]:
    """Run a module of this folder on a file, and return the JSON that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        run_in_child(f"runtimes.{module}", path, answer, limits=limits)
        much, kinds = json.loads(answer.read_text())
    return much, kinds


def _xnnpack(path: Path, limits: Limits) -> tuple[str, str]:
    partitions, outside = _answer("xnnpack", path, limits)
    return f"{partitions} partition{'' if partitions == 1 else 's'}", counted(outside)


def _gpu(path: Path, limits: Limits) -> tuple[str, str]:
    count, outside = _answer("gpu", path, limits)
    return f"{count - len(outside)} of {count} operations, by kind", counted(outside)


def _ethos_u(path: Path, limits: Limits) -> tuple[str, str]:
    share, outside = _answer("ethos_u", path, limits)
    return f"{share} of the operations", counted(outside)


def _layout(path: Path, limits: Limits) -> tuple[str, str]:
    count, moving = _answer("layout", path, limits)
    return f"{count - len(moving)} of {count} operations compute", counted(moving)


# By accelerator: the suffix of its files, the package that is needed, and the function to query it.
PROBES: dict[str, tuple[str, str, Callable[[Path, Limits], tuple[str, str]]]] = {
    "XNNPACK": (".tflite", "ai_edge_litert", _xnnpack),
    "GPU delegate": (".tflite", "ai_edge_litert", _gpu),
    "Ethos-U55": ("int8.tflite", "ethosu", _ethos_u),
    "layout": (".onnx", "onnx", _layout),
}
