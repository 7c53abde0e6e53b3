"""`manifest.json`: what an export came to, as any client can read it, and back as a `Report`."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError

from .delegates import Delegation
from .parity import Parity
from .report import ArtifactReport, Elsewhere, LayerError, Report

MANIFEST = "manifest.json"
# The layout of the file; a reader of another one says so.
LAYOUT = 2
# What null stands for in the fields of a `Parity` that always have a number.
NOT_FINITE = {"largest_error": np.inf, "mean_error": np.inf, "sqnr": None}
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
    record = {key: value for key, value in asdict(report).items() if key != "directory"}
    for artifact in record["artifacts"]:
        artifact["layers"] = [error._asdict() for error in artifact["layers"]]
    record["delegations"] = [each._asdict() for each in record["delegations"]]
    text = json.dumps({"layout": LAYOUT, **_finite(record)}, indent=2, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_manifest(directory: Path) -> Report:
    """The report that an export in `directory` came to.

    Raises:
        InputError: if there is none, or none that this version reads.
    """
    path = directory / MANIFEST
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        layout = record.pop("layout")
    except FileNotFoundError as error:
        raise InputError(f"Expected the directory of an export. No file at: {path}") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path} is not the manifest of an export: {error}.") from error
    if layout != LAYOUT:
        raise InputError(f"{path} has layout {layout}; this version of keras_cbam reads {LAYOUT}.")
    try:
        artifacts = tuple(_artifact(**entry) for entry in record.pop("artifacts"))
        record["delegations"] = [Delegation(**entry) for entry in record["delegations"]]
        listed = {key: tuple(value) for key, value in record.items() if isinstance(value, list)}
        return Report(directory=str(directory), artifacts=artifacts, **{**record, **listed})
    except (TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error


def _artifact(
    parity: Any, notes: Any, missed: Any, layers: Any, elsewhere: Any, **rest: Any
) -> ArtifactReport:
    return ArtifactReport(
        parity=_parity(parity),
        elsewhere=tuple(
            Elsewhere(e["runtime"], e["images"], _parity(e["parity"]), tuple(e["missed"]))
            for e in elsewhere
        ),
        notes=tuple(notes),
        missed=tuple(missed),
        layers=tuple(LayerError(**entry) for entry in layers),
        **rest,
    )


def _parity(entries: Any) -> tuple[Parity, ...]:
    return tuple(Parity(**{**NOT_FINITE, **_known(entry)}) for entry in entries)


def _known(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _finite(record: Any) -> Any:
    """The record with null for what JSON has no number for."""
    if isinstance(record, dict):
        return {key: _finite(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [_finite(value) for value in record]
    return None if isinstance(record, float) and not np.isfinite(record) else record


def versions() -> dict[str, str]:
    """Versions of the packages involved that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def source(model: keras.Model) -> dict[str, Any]:
    """Name of a model, and hash of its weights in order, with their shapes and types."""
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
    """Size of a file or directory, and hash; of a directory of names and contents in order."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode())
        digest.update(file.read_bytes())
    return sum(file.stat().st_size for file in files), digest.hexdigest()
