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
from .proof.manifest import LARGEST, MANIFEST, size_and_hash
from .proof.proof import Proof, is_safe
from .proof.reference import REFERENCE
from .proof.report import REPORT

# Lists the artifacts while they are moved. If an export is killed, it tells them from other files.
JOURNAL = ".keras_cbam_export.json"
# The folder of companions, while they are not published.
COMPANIONS = "companions"
KNOWN = (*(artifact.name for artifact in ARTIFACTS), REFERENCE, REPORT, MANIFEST)


def check_ours(directory: Path, names: list[str]) -> None:
    """Raise an `InputError` if a file that no earlier export wrote would be replaced."""
    ours = _ours(directory)
    for name in names:
        if (directory / name).exists() and name not in ours:
            raise InputError(
                f"{directory / name} is in the way, and no manifest of an export lists it with "
                "this content. Remove it or choose another directory."
            )


def _staged(staging: Path, name: str) -> Path:
    """Return where a file is written. A companion may be called as any other file of the export."""
    return staging / name if name in KNOWN else staging / COMPANIONS / name


def write_companions(proof: Proof, staging: Path) -> dict[str, str]:
    """Write the companions, and return their hashes by name."""
    (staging / COMPANIONS).mkdir()
    hashes = {}
    for name, write in proof.companions.items():
        path = _staged(staging, name)
        write(path)
        if not path.is_file():
            raise InputError(f"Expected a function that writes the companion {name}. No file came")
        hashes[name] = size_and_hash(path)[1]
    return hashes


def publish(staging: Path, directory: Path, names: list[str]) -> None:
    """Replace the artifacts of an earlier export by the new ones.

    Files are only renamed, so a file with a final name is complete at any moment.
    """
    replaced = _ours(directory)
    with atomic_path(directory / JOURNAL) as path:
        listed = [{"name": name} for name in sorted({*replaced, *names})]
        _, companions = _listed(directory)
        for name in set(names) - set(KNOWN):
            companions.setdefault(name, set()).add(size_and_hash(_staged(staging, name))[1])
        hashes = {name: sorted(found) for name, found in companions.items()}
        path.write_text(json.dumps({"artifacts": listed, "beside_sha256": hashes}))
    old = staging / "replaced"
    old.mkdir()
    for name in sorted(replaced, key=lambda name: name != MANIFEST):
        if (directory / name).exists():
            os.replace(directory / name, old / name)
    for name in names:
        os.replace(_staged(staging, name), directory / name)
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
    """Return the names of files that an earlier export wrote here, or was about to write.

    A companion may have any name, so its content has to be the exported one too.
    """
    found, companions = _listed(directory)
    for name, hashes in companions.items():
        if (directory / name).is_file() and size_and_hash(directory / name)[1] in hashes:
            found.add(name)
    return found


def _listed(directory: Path) -> tuple[set[str], dict[str, set[str]]]:
    """Return the names that the manifest and the journal of an earlier export list.

    Companions are apart, with the hashes that they may have. A file that cannot be read lists
    nothing.
    """
    found: set[str] = set()
    companions: dict[str, set[str]] = {}
    for listing in (MANIFEST, JOURNAL):
        try:
            record = read_json(directory / listing, LARGEST)
            names = {MANIFEST, REFERENCE, *(entry["name"] for entry in record["artifacts"])}
            names |= {REPORT} if record.get("delegations") else set()
            hashes = {
                name: {known} if isinstance(known, str) else set(known)
                for name, known in record.get("beside_sha256", {}).items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        found |= names.intersection(KNOWN)
        for name in filter(is_safe, hashes.keys() - set(KNOWN)):
            companions.setdefault(name, set()).update(hashes[name])
    return found, companions
