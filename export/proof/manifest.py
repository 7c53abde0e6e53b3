"""`manifest.json`: the `Report` of an export as JSON that any client can read."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, refused
from keras_cbam.foreign_files import read_json
from keras_cbam.schema import decode, short

from .report import Report

MANIFEST = "manifest.json"
# Version of the layout of the file. Other layouts are refused.
LAYOUT = 2
LARGEST = 64 * 2**20
PACKAGES = (
    "keras-cbam",
    "keras",
    "tensorflow",
    "ai-edge-litert",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "openvino",
    "ethos-u-vela",
    "numpy",
)


def write_manifest(report: Report, path: Path) -> None:
    """Write the report as JSON."""
    record = {"layout": LAYOUT, **asdict(report)}
    del record["directory"]
    for artifact in record["artifacts"]:
        artifact["layers"] = [error._asdict() for error in artifact["layers"]]
    record["delegations"] = [each._asdict() for each in record["delegations"]]
    # JSON has no NaN and no infinity. `None` takes their place.
    finite = json.loads(json.dumps(record), parse_constant=lambda name: None)
    text = json.dumps(finite, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_manifest(directory: Path) -> Report:
    """Read the report of the export in `directory`.

    Raises:
        InputError: if there is no manifest, or this version cannot read it.
    """
    path = directory / MANIFEST
    absent = "Expected the directory of an export. No file at: "
    with refused(absent, only=(FileNotFoundError,), told=lambda error: str(path)):
        record = read_json(path, LARGEST)
    layout = record.pop("layout", None) if isinstance(record, dict) else None
    if layout != LAYOUT:
        raise InputError(
            f"Expected the manifest of an export, of layout {LAYOUT}. Received: {path} of layout "
            f"{short(layout)}"
        )
    report: Report = decode(Report, {**record, "directory": str(directory)}, str(path))
    for what in ("artifacts", "inputs", "outputs"):
        names = [each["name"] for each in record[what]]
        if not names or len(set(names)) != len(names):
            raise InputError(
                f"Expected {what} in {path}, with unique names. Received: {short(names)}"
            )
    return report


def versions() -> dict[str, str]:
    """Return the versions of the installed packages of `PACKAGES`."""
    found = {}
    for package in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def source(model: keras.Model) -> dict[str, Any]:
    """Return the name of a model, its parameters, and a hash of its weights, shapes and types."""
    digest = hashlib.sha256()
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight)
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return {
        "name": model.name,
        "parameters": int(model.count_params()),
        "weights_sha256": digest.hexdigest(),
    }


def size_and_hash(path: Path) -> tuple[int, str]:
    """Return size and hash of a file, or of a directory's file names and contents in order."""
    digest = hashlib.sha256()
    files = _files(path)
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode(errors="surrogateescape"))
        with file.open("rb") as opened:
            while chunk := opened.read(2**20):
                digest.update(chunk)
    return _size(files), digest.hexdigest()


def why_changed(path: Path, sha256: str, size: int | None = None) -> str | None:
    """Return why a file is not the exported one, or `None`. A file of another size is not read."""
    if not path.exists():
        return "the file is missing"
    if size not in (None, _size(_files(path))) or size_and_hash(path)[1] != sha256:
        return "the file is not the one that was exported: its SHA-256 differs"
    return None


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _size(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)
