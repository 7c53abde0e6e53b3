"""The export: check, convert, write, verify in the real runtime, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras

from keras_cbam.config.export import ExportOptions
from keras_cbam.errors import InputError
from keras_cbam.files import staging_directory

from .children.arrays import save_arrays
from .children.process import RuntimeFailure
from .formats import FORMATS, Artifact
from .proof.judging import CLASSES, VALUES, can_hold_classes
from .proof.manifest import MANIFEST, source, versions, write_manifest
from .proof.parity import accuracy
from .proof.reference import REFERENCE, Arrays, write_reference
from .proof.report import REPORT, ArtifactReport, Report, VerificationError
from .proof.warnings import calibration_warnings, spread_of, verification_warnings
from .publish import DETECTOR, check_ours, publish, space_needed
from .request import (
    Request,
    check_destination,
    check_options,
    choose,
    choose_runtimes,
    read_request,
)
from .runtimes.placement import delegations
from .source.datasets import CALIBRATION_IMAGES
from .source.serving import Serving
from .tflite.layers import layer_errors
from .verification import Judge, Subject, verify_artifact


def export(
    model: keras.Model,
    directory: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] | None = None,
    representative_dataset: Any = None,
    calibration_images: int = CALIBRATION_IMAGES,
    verification_data: Any = None,
    on_mismatch: str = "raise",
    judge: str | Mapping[str, str] | Judge | None = None,
    beside: Mapping[str, Callable[[Path], None]] | None = None,
    preprocessing: str | None = None,
    preprocessing_inside: bool = True,
    labels: Sequence[str] | None = None,
    opset: int = ExportOptions.opset,
    integer_io: str = ExportOptions.integer_io,
    batch_size: int | None = ExportOptions.batch_size,
    float_layers: Sequence[str] = ExportOptions.float_layers,
    jpeg_signature: bool = ExportOptions.jpeg_signature,
    target: str = ExportOptions.target,
    runtimes: Sequence[str] | None = None,
    write_report: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Write a model in several formats, each proven to answer as Keras does.

    Every artifact is run in its real runtime, in a child process, and compared with Keras on the
    verification data. Artifacts appear under their final names only when all of them are written
    and verified, the manifest last.

    Args:
        model: a `keras.Model`, with any structure of inputs and outputs. One that computes in
            reduced precision is rebuilt in float32. One that is no graph needs `verification_data`.
        directory: where the artifacts go; made if it does not exist. The artifacts of an earlier
            export in it are replaced, all of them.
        formats: of `"saved_model"`, `"tflite"` and `"onnx"`.
        precisions: of `"float32"`, `"float16"`, `"dynamic"`, `"int8"` and `"int16x8"`; each format
            is written in those it comes in. `None` means float32, and int8 when a representative
            dataset is given.
        representative_dataset: inputs that int8 and int16x8 are calibrated on, in what the artifact
            takes: an array of shape `(images, height, width, channels)`; a list of arrays, or a
            dictionary, for several inputs; an iterable of batches, a `tf.data.Dataset`, or a
            function that returns one; or a folder of images. Of pixels one image gets a black and
            a white one, so that integer inputs are pixels as they are.
        calibration_images: how many to take of a folder or of batches.
        verification_data: inputs the artifacts are compared on, likewise; or a tuple
            `(inputs, labels)` with integer labels, to report accuracy too. Apart from the
            representative dataset, and at least 200 inputs, or the report warns. `None` draws
            images of random colors, on which float32 alone is judged.
        on_mismatch: `"raise"`, which leaves nothing when an artifact misses its tolerance, or
            `"report"`, which keeps and marks it.
        judge: how outputs are compared. `"classes"`: the largest value of the last axis is in the
            same place. `"threshold"`: values are on the same side of 0.5. `"values"`: they are
            within a tenth of the range that Keras gives, and the SQNR is high enough. One name for
            all outputs, or a dictionary by the output's name. By default probabilities that add up
            to 1 and whole numbers are classes, sigmoids have a threshold, the first output has
            classes if `labels` are given, and all else are values; the manifest tells. The largest
            error is judged in any case. Or a function that takes the place of agreement and
            accuracy, such as for a detector: of the name and the precision of an artifact, its
            outputs on the verification data by name, and Keras's, it returns what the artifact
            misses, in words.
        beside: further files, of `"anchors.npy"`, `"decoder.py"`, `"detections.md"` and
            `"detector.json"`: by name, a function that writes it to a path once the artifacts are
            verified.
        preprocessing: what the network expects of pixels: name of its builder in
            `keras.applications`, or `"tf"`, `"torch"`, `"caffe"` or `"inside"`. `None` where the
            model takes its inputs as they are.
        preprocessing_inside: whether the artifacts do that, and take RGB pixels in 0..255; else the
            manifest tells the client to.
        labels: class names, for the manifest and inside each artifact. A model of one sigmoid may
            have two: that of what it says no to, and of what it says yes to.
        opset: of the ONNX files, 13 to 18; at 18 attention is not lowered.
        integer_io: type of the inputs and outputs of the int8 TFLite file: `"int8"`, `"uint8"` or
            `"float32"`.
        batch_size: of the TFLite files; `None` for any. The others take any.
        float_layers: names of layers that stay in float32 in the int8 files.
        jpeg_signature: whether the SavedModel gets the signature `serving_jpeg`, which takes the
            bytes of JPEG files.
        target: the same function in the operations that run best there. `"cpu"`: the float32 ONNX
            file has products and pools for reductions over the channels, TFLite files of a fixed
            batch take convolutions to one channel several columns at a time, and both have the last
            layer of the MLP once. `"npu"`: TFLite files have convolutions for means over the
            channels, which Arm's Ethos-U lacks. `"generic"`: as the converters write it.
        runtimes: where TFLite and ONNX files are verified beside their own runtime, of `"openvino"`
            and `"onnxruntime-web"`, on some of the inputs; `None` for those that are installed.
        write_report: whether to write `report.md`, with where the operations of each artifact run
            and why not where they do not: XNNPACK, LiteRT's GPU delegate by kinds of operations,
            Ethos-U where `ethos-u-vela` is installed; and what in ONNX moves values alone.
        progress: called with a line for each step.

    Returns:
        A `Report`.

    Raises:
        InputError: on arguments or a model that cannot be exported.
        VerificationError: if an artifact misses its tolerance and `on_mismatch` is `"raise"`.
    """
    say = progress or (lambda line: None)
    options = ExportOptions(
        opset=opset,
        integer_io=integer_io,
        batch_size=batch_size,
        float_layers=tuple(float_layers),
        jpeg_signature=jpeg_signature,
        target=target,
    )
    directory = Path(directory)
    check_destination(directory, on_mismatch)
    chosen = choose(formats, precisions, representative_dataset is not None)
    names = [artifact.name for artifact in chosen]
    also = choose_runtimes(runtimes, names)
    beside = beside or {}
    if not set(beside) <= set(DETECTOR):
        raise InputError(f"Expected files of {', '.join(DETECTOR)}. Received: {', '.join(beside)}")
    also_written = [*beside, REFERENCE, *([REPORT] if write_report else []), MANIFEST]
    check_ours(directory, [*names, *also_written])
    check_options(options, chosen, preprocessing is not None and not preprocessing_inside)
    request = read_request(
        model,
        representative_dataset,
        calibration_images,
        verification_data,
        (preprocessing, preprocessing_inside),
        labels,
    )
    with staging_directory(directory) as staging, space_needed(directory):
        say("Keras: reference outputs")
        reference = request.prepared.answers(request.inputs)
        own = judge if callable(judge) else None
        given = None if callable(judge) else judge
        subject = Subject(
            staging / "inputs.npz",
            reference,
            request.truth,
            request.drawn,
            judges=request.judges(reference, given),
            by_agreement=own is None,
            judge=own,
        )
        save_arrays(subject.inputs, request.named())
        serving = Serving(
            request.prepared, staging, request.representative, options, request.metadata()
        )
        found = _write_and_verify(chosen, serving, subject, also, say)
        reports = tuple(each for each, _ in found)
        report = _report(directory, request, options, subject, reports, tuple(beside))
        if on_mismatch == "raise" and report.missed:
            missed = "; ".join(report.missed)
            hint = "" if judge else _other_judge(subject)
            raise VerificationError(f"Nothing was exported, because of {missed}.{hint}", report)
        answers = {each.name: outputs for each, outputs in found}
        write_reference(staging / REFERENCE, request.named(), reference, answers)
        for name, write in beside.items():
            write(staging / name)
        if write_report:
            say("where the operations run")
            report = replace(report, delegations=delegations(staging, names))
            (staging / REPORT).write_text(report.markdown(), encoding="utf-8")
        write_manifest(report, staging / MANIFEST)
        publish(staging, directory, [*names, *also_written])
    return report


def _other_judge(subject: Subject) -> str:
    """What to try where scores of classes were taken for values; empty if none may be."""
    names = [
        name
        for name, judge in subject.judges.items()
        if judge == VALUES and can_hold_classes(subject.reference[name]) and not subject.drawn
    ]
    if not names:
        return ""
    return f" If these are scores of classes, give judge {CLASSES} for them: {', '.join(names)}."


def _write_and_verify(
    chosen: list[Artifact],
    serving: Serving,
    subject: Subject,
    also: tuple[str, ...],
    say: Callable[[str], None],
) -> list[tuple[ArtifactReport, Arrays]]:
    """Each artifact is verified, in its child process, while the next is written."""
    with ThreadPoolExecutor(max_workers=1) as verifier:
        pending = []
        try:
            for artifact in chosen:
                path = serving.scratch / artifact.name
                say(f"{artifact.name}: writing")
                notes = artifact.write(serving, path)
                arguments = (artifact, path, subject, notes, also, serving)
                pending.append(verifier.submit(_verified, *arguments))
            say("verifying the rest")
            return [future.result() for future in pending]
        except BaseException:
            verifier.shutdown(wait=False, cancel_futures=True)
            raise


def _verified(
    artifact: Artifact,
    path: Path,
    subject: Subject,
    notes: list[str],
    also: tuple[str, ...],
    serving: Serving,
) -> tuple[ArtifactReport, Arrays]:
    """The artifact's report, with the error of each operation if it is a quantized TFLite file."""
    report, outputs = verify_artifact(artifact, path, subject, notes, also)
    if artifact.format == "tflite" and artifact.calibrated and outputs:
        try:
            report = replace(report, layers=layer_errors(serving, path))
        except RuntimeFailure as error:
            unknown = f"the error of each layer is not known: {error}"
            report = replace(report, notes=(*report.notes, unknown))
    return report, outputs


def _report(
    directory: Path,
    request: Request,
    options: ExportOptions,
    subject: Subject,
    artifacts: tuple[ArtifactReport, ...],
    beside: tuple[str, ...],
) -> Report:
    reference = subject.reference
    images, spread, first = len(request.inputs[0]), spread_of(reference), next(iter(reference))
    return Report(
        directory=str(directory),
        beside=beside,
        by_agreement=subject.by_agreement,
        inputs=request.described(),
        outputs=tuple(
            {"name": name, "shape": [None, *value.shape[1:]], "judge": subject.judges[name]}
            for name, value in reference.items()
        ),
        preprocessing=request.preprocessing,
        images=images,
        drawn=subject.drawn,
        spread=spread,
        accuracy=accuracy(reference[first], subject.labels, subject.judges[first]),
        artifacts=artifacts,
        labels=request.labels,
        options=asdict(options),
        calibration_images=len(request.representative[0]) if request.representative else 0,
        source=source(request.model),
        versions=versions(),
        warnings=(
            *request.prepared.notes,
            *verification_warnings(images, spread, subject.drawn),
            *calibration_warnings(request.representative),
        ),
    )
