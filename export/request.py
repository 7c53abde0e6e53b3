"""The arguments of an export, which are checked before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.config.export import ExportOptions
from keras_cbam.errors import InputError, check_choice, refused, require
from keras_cbam.files import check_writable
from keras_cbam.keras_archive import check_input
from keras_cbam.outputs import is_one_sigmoid
from keras_cbam.text import error_type

from .formats import ALSO, ARTIFACTS, FORMATS, LOWERINGS, PRECISIONS, WRITTEN_WITH, Artifact
from .proof.judging import judges
from .proof.report import InputRecord
from .proof.warnings import ENOUGH_SPREAD, spread_of
from .runtimes.table import RUNTIMES, is_installed, require_runtime
from .source.datasets import check_arrays, raw_arrays, split_labels
from .source.metadata import Metadata
from .source.prepare import Prepared, prepare
from .source.preprocessing import as_seen, with_extremes, with_preprocessing
from .source.random_inputs import draw_inputs


@dataclass(frozen=True)
class Request:
    """A model, and the data with which it is exported.

    Attributes:
        model: the caller's model.
        prepared: the model that is exported.
        inputs: verification data, one array for each input by name.
        truth: the right answers to `inputs`, or `None`.
        drawn: whether `inputs` were drawn at random.
        representative: calibration data, one array for each input; or `None`.
        metadata: the metadata of the artifacts.
    """

    model: keras.Model
    prepared: Prepared
    inputs: dict[str, np.ndarray]
    truth: np.ndarray | None
    drawn: bool
    representative: list[np.ndarray] | None
    metadata: Metadata

    def judges(
        self, answers: Mapping[str, np.ndarray], given: str | Mapping[str, str] | None
    ) -> dict[str, str]:
        """Return the judge of each output, by its name."""
        outputs = dict(zip(self.prepared.outputs, self.prepared.model.outputs, strict=True))
        named, known = bool(self.metadata.labels), self.truth is not None
        return judges(outputs, answers, given, named=named, known=known)

    def described(self) -> tuple[InputRecord, ...]:
        """Return a record of each input, with the range of its verification data."""
        return tuple(
            {
                "name": name,
                "shape": list(tensor.shape),
                "dtype": str(tensor.dtype),
                "range": [float(self.inputs[name].min()), float(self.inputs[name].max())],
            }
            for name, tensor in zip(self.inputs, self.prepared.model.inputs, strict=True)
        )


def read_request(
    model: keras.Model,
    representative_dataset: Any,
    calibration_images: int,
    verification_data: Any,
    preprocessing: tuple[str | None, bool],
    labels: Sequence[str] | None,
) -> Request:
    """Read the arguments of `export_model` that concern the model and the data.

    Raises:
        InputError: on an argument that cannot be used.
    """
    if calibration_images < 1:
        raise InputError(f"Expected calibration_images >= 1. Received: {calibration_images}")
    for label in labels or ():
        if not isinstance(label, str) or len(label.splitlines()) != 1:
            raise InputError(f"Expected labels that are text of one line. Received: {label!r}")
    size = _image_size(model)
    given, truth = split_labels(verification_data)
    graph = prepare(model) if getattr(model, "inputs", None) else None
    for tensor in graph.model.inputs if graph else ():
        check_input(tuple(tensor.shape))
    example = raw_arrays(given, "verification_data", graph.inputs if graph else None, size)
    prepared, pixels = with_preprocessing(graph or prepare(model, example), *preprocessing)
    tensors = prepared.model.inputs
    representative = raw_arrays(
        representative_dataset, "representative_dataset", prepared.inputs, size, calibration_images
    )
    if example is None:
        inputs = _drawn(prepared)
    else:
        inputs = check_arrays(example, tensors, "verification_data")
    if representative is not None:
        representative = check_arrays(representative, tensors, "representative_dataset")
    pixels = as_seen(pixels, tensors, representative if example is None else inputs)
    if representative is not None:
        representative = with_extremes(representative, pixels)
    count = len(inputs[0])
    if truth is not None and truth.shape != (count,):
        raise InputError(f"Expected one label for each of {count} inputs. Received: {truth.shape}")
    scores = prepared.model.outputs[0]
    # A sigmoid has two classes, no and yes.
    classes = {scores.shape[-1], 2} if is_one_sigmoid(scores) else {scores.shape[-1]}
    if labels is not None and len(labels) not in classes:
        expected = " or ".join(map(str, sorted(classes)))
        raise InputError(f"Expected {expected} labels, one per class. Received: {len(labels)}")
    return Request(
        model,
        prepared,
        dict(zip(prepared.inputs, inputs, strict=True)),
        truth,
        example is None,
        representative,
        Metadata(model.name, prepared.outputs[0], tuple(labels or ()), pixels),
    )


def _drawn(prepared: Prepared) -> list[np.ndarray]:
    # An index may be out of range, for example.
    what = "Expected verification_data, because the model refuses random inputs: "
    with refused(what, passing=(InputError,), told=lambda error: f"{error_type(error)}."):
        return draw_inputs(
            prepared.model.inputs, lambda each: spread_of(prepared.answers(each)), ENOUGH_SPREAD
        )


def check_destination(directory: Path, on_mismatch: str) -> None:
    """Raise an `InputError` unless an export to this directory is possible."""
    if keras.config.backend() != "tensorflow":
        raise InputError(
            "Export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow. Received: "
            f"{keras.config.backend()}"
        )
    if on_mismatch not in ("raise", "report"):
        raise InputError(f"Expected on_mismatch 'raise' or 'report'. Received: {on_mismatch}")
    check_writable(directory)


def choose(
    formats: Sequence[str], precisions: Sequence[str] | None, calibrated: bool
) -> list[Artifact]:
    """Return the artifacts with these formats and precisions.

    Raises:
        InputError: on an unknown name or a combination that does not exist, or if a precision needs
            calibration and there is no representative dataset.
        MissingPackageError: if a package that writes or runs one of them is not installed.
    """
    default = ("float32", "int8") if calibrated else ("float32",)
    precisions = default if precisions is None else precisions
    formats, precisions = (
        (given,) if isinstance(given, str) else tuple(given) for given in (formats, precisions)
    )
    for given, known, what in (
        (formats, FORMATS, "a format"),
        (precisions, PRECISIONS, "a precision"),
    ):
        if not given:
            raise InputError(f"Expected {what} of {', '.join(known)}. Received: none")
        for name in given:
            check_choice(what, name, known)
    chosen = [a for a in ARTIFACTS if a.format in formats and a.precision in precisions]
    if not chosen:
        raise InputError(
            f"No format of {', '.join(formats)} comes in precision {', '.join(precisions)}."
        )
    for artifact in chosen:
        if artifact.calibrated and not calibrated:
            raise InputError(
                f"Precision {artifact.precision} needs a representative dataset to calibrate on."
            )
        require(*WRITTEN_WITH[artifact.format], RUNTIMES[artifact.runtime].package)
    return chosen


def choose_runtimes(given: Sequence[str] | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return the given further runtimes, or the installed ones for `None`.

    Args:
        given: names of the runtimes, or `None`.
        names: names of the artifacts.

    Raises:
        InputError: on a runtime that is unknown, is not installed, or runs none of the artifacts.
    """
    if given is None:
        return tuple(runtime for runtime in ALSO if is_installed(runtime))
    given = (given,) if isinstance(given, str) else tuple(given)
    for runtime in given:
        check_choice("runtimes", runtime, ALSO)
        if not any(a.name in names and runtime in a.also for a in ARTIFACTS):
            raise InputError(f"{runtime} is a runtime of none of these: {', '.join(names)}.")
        require_runtime(runtime)
    return given


def check_options(options: ExportOptions, chosen: list[Artifact], outside: bool) -> None:
    """Raise an `InputError` on options that apply to no chosen artifact, or contradict others.

    Args:
        options: the export options.
        chosen: the chosen artifacts.
        outside: whether preprocessing is left to the client.
    """
    for name, value in options.given().items():
        if not any(name in artifact.options for artifact in chosen):
            having = ", ".join(each.name for each in ARTIFACTS if name in each.options)
            written = ", ".join(each.name for each in chosen)
            raise InputError(
                f"Expected an artifact that has the option {name}: {having}. Received: {name} "
                f"{value} for {written}"
            )
    lowered = [name for name, of_target in LOWERINGS.items() if of_target[options.target]]
    if options.given().get("target") and lowered and not {a.format for a in chosen} & set(lowered):
        raise InputError(
            f"Expected the format {' or '.join(lowered)} with target {options.target}, "
            "which changes no other format."
        )
    both = any({"float_layers", "integer_io"} <= set(artifact.options) for artifact in chosen)
    if options.float_layers and both and options.integer_io != "float32":
        raise InputError(
            "Expected integer_io='float32' with float_layers, because the converter gives such a "
            f"file float32 inputs and outputs. Received: {options.integer_io}"
        )
    if options.jpeg_signature and outside:
        raise InputError(
            "Expected preprocessing inside the artifacts with jpeg_signature, which passes decoded "
            "pixels to the model."
        )


def _image_size(model: Any) -> tuple[int | None, ...] | None:
    """Return height and width of the first input if it is an image, or `None`."""
    inputs = getattr(model, "inputs", None)
    shape = tuple(inputs[0].shape) if inputs else ()
    return shape[1:3] if len(shape) == 4 else None
