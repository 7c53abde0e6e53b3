"""Putting verified artifacts in place: only what an earlier export wrote is replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.files import remove

from .formats import ARTIFACTS

MANIFEST = "manifest.json"


def check_ours(directory: Path, names: list[str]) -> None:
    """Refuse to replace what no earlier export wrote."""
    listed = _listed(directory / MANIFEST)
    ours = {*listed, MANIFEST} if listed else set()
    for name in names:
        if (directory / name).exists() and name not in ours:
            raise InputError(
                f"{directory / name} is in the way, and no manifest of an export lists it; remove "
                "it or choose another directory."
            )


def publish(staging: Path, directory: Path, names: list[str]) -> None:
    """Put the new artifacts in the place of those of an earlier export."""
    for name in (MANIFEST, *_listed(directory / MANIFEST), *names):
        remove(directory / name)
    for name in names:
        os.replace(staging / name, directory / name)


def _listed(manifest: Path) -> list[str]:
    """The artifacts that the manifest of an earlier export lists, of those this package writes."""
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))["artifacts"]
        found = {entry["name"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [artifact.name for artifact in ARTIFACTS if artifact.name in found]
