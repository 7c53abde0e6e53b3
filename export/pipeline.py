"""The export: check, convert, write, verify in the real runtime, report."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, require
from keras_cbam.files import check_writable, staging_directory

from .child import RuntimeFailure
from .formats import ARTIFACTS, FORMATS, MODULES, PRECISIONS, Artifact
from .publish import MANIFEST, check_ours, publish
from .report import ArtifactReport, Report, VerificationError, accuracy, compare, differing_shapes
from .runtimes import run_artifact
from .serving import Serving

PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "tf2onnx", "onnx", "onnxruntime", "numpy")
# Below this a share of agreement moves in steps too coarse to judge by.
ENOUGH_IMAGES = 200
# Outputs must vary between inputs by a hundred times the float tolerance, or parity is vacuous.
ENOUGH_SPREAD = 100 * 1e-4


def export(
    model: keras.Model,
    directory: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] | None = None,
    representative_dataset: Any = None,
    verification_data: Any = None,
    on_mismatch: str = "raise",
    labels: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Write a model in several formats, each proven to answer as Keras does.

    Every artifact is run in its real runtime, in a child process, and compared with Keras on the
    verification data. Artifacts appear under their final names only when all of them are written
    and verified, the manifest last.

    Args:
        model: a functional or Sequential `keras.Model` in float32, with static sizes but the batch.
        directory: where the artifacts go; made if it does not exist. The artifacts of an earlier
            export in it are replaced, all of them.
        formats: of `"saved_model"`, `"tflite"` and `"onnx"`.
        precisions: of `"float32"` and `"int8"`; `None` means float32, and int8 when a
            representative dataset is given.
        representative_dataset: inputs that int8 is calibrated on, in what the model takes: an array
            of shape `(images, height, width, channels)`, an iterable of batches, or a list of
            arrays for several inputs.
        verification_data: inputs the artifacts are compared on, likewise; or a tuple
            `(inputs, labels)` with integer labels, to report accuracy too. Apart from the
            representative dataset, and at least 200 inputs, or the report warns.
        on_mismatch: `"raise"`, which leaves nothing when an artifact misses its tolerance, or
            `"report"`, which keeps and marks it.
        labels: class names for the manifest.
        progress: called with a line for each step.

    Returns:
        A `Report`.

    Raises:
        InputError: on arguments or a model that cannot be exported.
        VerificationError: if an artifact misses its tolerance and `on_mismatch` is `"raise"`.
    """
    say = progress or (lambda line: None)
    directory = Path(directory)
    _check(model, directory, on_mismatch, labels)
    inputs, truth = _verification(verification_data, model)
    representative = _arrays(representative_dataset, model, "representative_dataset")
    chosen = _choose(formats, precisions, representative is not None)
    names = [*(artifact.name for artifact in chosen), MANIFEST]
    check_ours(directory, names)

    with staging_directory(directory) as staging:
        serving = Serving(model, staging, representative)
        say("Keras: reference outputs")
        reference = _reference(serving, inputs)
        spread = min(float(np.ptp(value, axis=0).max()) for value in reference.values())
        samples = staging / "inputs.npz"
        named: dict[str, Any] = dict(zip(serving.input_names, inputs, strict=True))
        np.savez(samples, **named)
        # One artifact is verified, in its child process, while the next is written.
        with ThreadPoolExecutor(max_workers=1) as verifier:
            pending = []
            for artifact in chosen:
                path = staging / artifact.name
                say(f"{artifact.name}: writing")
                notes = artifact.write(serving, path)
                pending.append(
                    verifier.submit(_verify, artifact, path, samples, reference, truth, notes)
                )
            say("verifying the rest")
            reports = [future.result() for future in pending]
        report = Report(
            directory=str(directory),
            inputs={
                name: tuple(tensor.shape)
                for name, tensor in zip(serving.input_names, model.inputs, strict=True)
            },
            outputs=tuple(serving.output_names),
            images=len(inputs[0]),
            spread=spread,
            accuracy=accuracy(next(iter(reference.values())), truth),
            artifacts=tuple(reports),
            labels=tuple(labels or ()),
            versions=_versions(),
            warnings=_warnings(len(inputs[0]), spread),
        )
        if on_mismatch == "raise" and not report.verified:
            missed = "; ".join(f"{r.name}: {m}" for r in reports for m in r.missed)
            raise VerificationError(f"Nothing was exported, because of {missed}.", report)
        report.write_manifest(staging / MANIFEST)
        publish(staging, directory, names)
    return report


def _check(
    model: keras.Model, directory: Path, on_mismatch: str, labels: Sequence[str] | None
) -> None:
    if keras.config.backend() != "tensorflow":
        raise InputError(
            "Export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow. Received: "
            f"{keras.config.backend()}"
        )
    if on_mismatch not in ("raise", "report"):
        raise InputError(f"Expected on_mismatch 'raise' or 'report'. Received: {on_mismatch}")
    policies = {layer.compute_dtype for layer in model.layers} - {"float32", None}
    if policies:
        raise InputError(f"Expected a model that computes in float32. Received: {min(policies)}")
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise InputError(
                f"Expected static sizes but the batch. Received: input {tensor.name} of shape "
                f"{tuple(tensor.shape)}"
            )
    names = list(model.output_names)
    if len(set(names)) != len(names):
        raise InputError(f"Expected outputs of different names. Received: {', '.join(names)}")
    classes = model.outputs[0].shape[-1]
    if labels is not None and len(labels) != classes:
        raise InputError(f"Expected {classes} labels, one a class. Received: {len(labels)}")
    check_writable(directory)


def _choose(
    formats: Sequence[str], precisions: Sequence[str] | None, calibrated: bool
) -> list[Artifact]:
    precisions = precisions or (PRECISIONS if calibrated else ("float32",))
    for given, known, what in ((formats, FORMATS, "format"), (precisions, PRECISIONS, "precision")):
        unknown = set(given) - set(known)
        if unknown or not given:
            received = min(unknown, default="none")
            raise InputError(f"Expected a {what} of {', '.join(known)}. Received: {received}")
    chosen = [a for a in ARTIFACTS if a.format in formats and a.precision in precisions]
    if not chosen:
        raise InputError(
            f"No format of {', '.join(formats)} comes in precision {', '.join(precisions)}."
        )
    if not calibrated and any(artifact.calibrated for artifact in chosen):
        raise InputError("Precision int8 needs a representative dataset to calibrate on.")
    for artifact in chosen:
        require(*MODULES[artifact.runtime])
    return chosen


def _arrays(data: Any, model: keras.Model, name: str) -> list[np.ndarray] | None:
    """One array for each input of the model, whatever form the data came in."""
    if data is None:
        return None
    if isinstance(data, np.ndarray):
        arrays = [data]
    elif isinstance(data, list | tuple) and len(data) == len(model.inputs):
        arrays = [np.asarray(array) for array in data]
    elif isinstance(data, Iterable) and len(model.inputs) == 1:
        batches = list(data)
        arrays = [np.concatenate([np.asarray(b) for b in batches])] if batches else []
    else:
        arrays = []
    if not arrays or not len(arrays[0]):
        raise InputError(f"Expected {name} with an array for each input. Received: {type(data)}")
    if len(arrays) != len(model.inputs) or len({len(array) for array in arrays}) != 1:
        raise InputError(
            f"Expected {name} with {len(model.inputs)} arrays of one length. Received: "
            f"{[array.shape for array in arrays]}"
        )
    for array, tensor in zip(arrays, model.inputs, strict=True):
        if array.shape[1:] != tuple(tensor.shape[1:]):
            raise InputError(
                f"Expected {name} of shape {(None, *tensor.shape[1:])}. Received: {array.shape}"
            )
    types = [tensor.dtype for tensor in model.inputs]
    return [array.astype(dtype, copy=False) for array, dtype in zip(arrays, types, strict=True)]


def _verification(data: Any, model: keras.Model) -> tuple[list[np.ndarray], np.ndarray | None]:
    inputs, truth = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    arrays = _arrays(inputs, model, "verification_data")
    if arrays is None:
        raise InputError("Expected verification_data, inputs the artifacts are compared on.")
    truth = None if truth is None else np.asarray(truth)
    if truth is not None and truth.shape != (len(arrays[0]),):
        raise InputError(
            f"Expected one label for each of {len(arrays[0])} inputs. Received: {truth.shape}"
        )
    return arrays, truth


def _reference(serving: Serving, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    found = serving.model.predict(serving.pack(inputs), verbose=0)
    return dict(zip(serving.output_names, keras.tree.flatten(found), strict=True))


def _verify(
    artifact: Artifact,
    path: Path,
    samples: Path,
    reference: dict[str, np.ndarray],
    truth: np.ndarray | None,
    notes: list[str],
) -> ArtifactReport:
    size, digest = _size_and_hash(path)
    parity: tuple[Any, ...] = ()
    try:
        outputs, facts = run_artifact(artifact.runtime, path, samples)
        notes = [*notes, *facts]
        missed = differing_shapes(outputs, reference)
        if not missed:
            parity = compare(outputs, reference, truth)
            missed = [miss for p in parity for miss in p.misses(artifact.tolerance)]
    except RuntimeFailure as error:
        missed = [str(error)]
    return ArtifactReport(
        artifact.name,
        artifact.format,
        artifact.precision,
        size,
        digest,
        parity,
        tuple(notes),
        tuple(missed),
    )


def _size_and_hash(path: Path) -> tuple[int, str]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        if path.is_dir():
            digest.update(file.relative_to(path).as_posix().encode())
        digest.update(file.read_bytes())
    return sum(file.stat().st_size for file in files), digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _warnings(images: int, spread: float) -> tuple[str, ...]:
    warnings = []
    if images < ENOUGH_IMAGES:
        warnings.append(
            f"agreement was judged on {images} inputs; {ENOUGH_IMAGES} or more tell reliably"
        )
    if spread < ENOUGH_SPREAD:
        warnings.append(
            f"Keras's outputs vary by only {spread:.2g} between inputs, too little for parity to "
            "prove anything"
        )
    return tuple(warnings)
