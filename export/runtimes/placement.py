"""Where the operations of an artifact run, which fall back, and which only move values."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

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


# By accelerator: the suffix of its files, the package that is needed, and the module of this folder
# that tells what is inside and outside.
PROBES = {
    "XNNPACK": (".tflite", "ai_edge_litert", "xnnpack"),
    "GPU delegate": (".tflite", "ai_edge_litert", "gpu"),
    "Ethos-U55": ("int8.tflite", "ethosu", "ethos_u"),
    "layout": (".onnx", "onnx", "layout"),
}


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
        for accelerator, (suffix, package, module) in PROBES.items():
            if name.endswith(suffix) and importlib.util.find_spec(package):
                try:
                    told = run_in_child(f"runtimes.{module}", folder / name, limits=limits)
                    inside, outside = str(told["inside"]), counted(told["outside"].tolist())
                except RuntimeFailure as error:
                    inside, outside = "", str(error)
                found.append(Delegation(name, accelerator, inside, outside))
    return tuple(found)
