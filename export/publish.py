"""Moves verified artifacts to their final places. Only files of an earlier export are replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path, is_full
from keras_cbam.foreign_files import read_json

from .formats import ARTIFACTS
from .proof.manifest import LARGEST, MANIFEST
from .proof.reference import REFERENCE
from .proof.report import REPORT

# Lists the artifacts while they are moved. If an export is killed, it tells them from other files.
JOURNAL = ".keras_cbam_export.json"
# Files of a detector: the decoder of its outputs with its data, and the results of its export.
DETECTOR = ("anchors.npy", "decoder.py", "detections.md", "detector.json")
_KNOWN = (*(artifact.name for artifact in ARTIFACTS), *DETECTOR, REFERENCE, REPORT, MANIFEST)


def check_ours(directory: Path, names: list[str]) -> None:
    """Raise an `InputError` if a file that no earlier export wrote would be replaced."""
    ours = _ours(directory)
    for name in names:
        if (directory / name).exists() and name not in ours:
            raise InputError(
                f"{directory / name} is in the way, and no manifest of an export lists it. Remove "
                "it or choose another directory."
            )


def publish(staging: Path, directory: Path, names: list[str]) -> None:
    """Replace the artifacts of an earlier export by the new ones.

    Files are only renamed, so a file with a final name is complete at any moment.
    """
    replaced = _ours(directory)
    with atomic_path(directory / JOURNAL) as path:
        listed = [{"name": name} for name in sorted({*replaced, *names})]
        path.write_text(json.dumps({"artifacts": listed}))
    old = staging / "replaced"
    old.mkdir()
    for name in sorted(replaced, key=lambda name: name != MANIFEST):
        if (directory / name).exists():
            os.replace(directory / name, old / name)
    for name in names:
        os.replace(staging / name, directory / name)
    (directory / JOURNAL).unlink()


@contextmanager
def space_needed(directory: Path) -> Iterator[None]:
    """Raise one clear error if the disk is full, whichever library notices it."""
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise InputError(f"No space is left in {directory}: nothing was written.") from error


def _ours(directory: Path) -> set[str]:
    """Return the names of files that an earlier export wrote here, or was about to write."""
    found: set[str] = set()
    for name in (MANIFEST, JOURNAL):
        try:
            record = read_json(directory / name, LARGEST)
            listed = {entry["name"] for entry in record["artifacts"]}
            reported = {REPORT} if record.get("delegations") else set()
            reported |= set(record.get("beside", ()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        found |= {MANIFEST, REFERENCE, *reported, *listed}
    return found & set(_KNOWN)
