"""Where the operations of an artifact run, and what falls back or computes nothing."""

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
    """An artifact on one accelerator.

    Attributes:
        artifact: its file's name.
        accelerator: which; of ONNX files `"layout"`, and what computes is inside.
        inside: how much of the graph runs there.
        outside: what does not, and why where that is told.
    """

    artifact: str
    accelerator: str
    inside: str
    outside: str


def delegations(
    folder: Path, names: Iterable[str], limits: Limits = NO_LIMITS
) -> tuple[Delegation, ...]:
    """Ask each tool that is installed about each artifact.

    Args:
        folder: where they are.
        names: their files' names.
        limits: of the processes that are asked.
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
    """What a module of this folder tells of a file: how much of it, and kinds of operations."""
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


# By accelerator: the files it is asked about, the package that tells, and how it is asked.
PROBES: dict[str, tuple[str, str, Callable[[Path, Limits], tuple[str, str]]]] = {
    "XNNPACK": (".tflite", "ai_edge_litert", _xnnpack),
    "GPU delegate": (".tflite", "ai_edge_litert", _gpu),
    "Ethos-U55": ("int8.tflite", "ethosu", _ethos_u),
    "layout": (".onnx", "onnx", _layout),
}
