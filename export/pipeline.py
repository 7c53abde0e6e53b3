"""The steps of an export: check, convert, write, verify in the real runtimes, report."""

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
from .proof.proof import Proof
from .proof.reference import REFERENCE, Arrays, write_reference
from .proof.report import REPORT, ArtifactReport, Report, VerificationError
from .proof.warnings import calibration_warnings, spread_of, verification_warnings
from .publish import KNOWN, check_ours, publish, space_needed, write_companions
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
from .verification import Subject, verify_artifact


def export_model(
    model: keras.Model,
    directory: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    precisions: Sequence[str] | None = None,
    representative_dataset: Any = None,
    calibration_images: int = CALIBRATION_IMAGES,
    verification_data: Any = None,
    on_mismatch: str = "raise",
    judge: str | Mapping[str, str] | None = None,
    proof: Proof | None = None,
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
    """Export a model to several formats, and verify that each artifact answers as Keras does.

    Each artifact runs in its real runtime, in a child process, and is compared with Keras on the
    verification data. Artifacts get their final names only after all of them are written and
    verified. The manifest comes last.

    Args:
        model: a `keras.Model`, with any structure of inputs and outputs. A model in reduced
            precision is rebuilt in float32. A model without known input shapes, such as a
            subclassed one, needs `verification_data`.
        directory: the directory for the artifacts, which is created if necessary. All artifacts of
            an earlier export in it are replaced.
        formats: any of `"saved_model"`, `"tflite"` and `"onnx"`.
        precisions: any of `"float32"`, `"float16"`, `"dynamic"`, `"int8"` and `"int16x8"`. Each
            format is written in the precisions that it supports. `None` means float32, and int8 if
            a representative dataset is given.
        representative_dataset: inputs on which int8 and int16x8 files are calibrated, in the form
            that the artifact takes: an array of shape `(images, height, width, channels)`; a list
            or a dictionary of arrays for several inputs; an iterable of batches, a
            `tf.data.Dataset`, or a function that returns one; or a folder of images. If the inputs
            are pixels, one image gets a black and a white pixel, so that integer inputs are pixel
            values.
        calibration_images: number of images to take from a folder or from batches.
        verification_data: inputs on which the artifacts are compared, in the same forms; or a tuple
            `(inputs, labels)` with integer labels, to report accuracy too. Use data other than the
            representative dataset, and at least 200 inputs; the report warns if there are fewer.
            `None` draws images of random colors, on which only float32 is judged.
        on_mismatch: `"raise"` exports nothing if an artifact misses its tolerance. `"report"` keeps
            the artifact and marks it.
        judge: how outputs are compared: one name for all outputs, or a dictionary by output name.
            The largest error is judged in any case.

            - `"classes"`: the largest value of the last axis is in the same place.
            - `"threshold"`: values are on the same side of 0.5.
            - `"values"`: values are within a tenth of the range that Keras gives, and the SQNR is
              high enough.

            By default, probabilities that add up to 1 and whole numbers are classes, sigmoids have
            a threshold, the first output has classes if `labels` are given, and everything else is
            values. The manifest records the choice.
        proof: requirements in place of the usual ones, and further files; see `Proof`.
        preprocessing: the preprocessing that the network expects: name of its builder in
            `keras.applications`, or `"tf"`, `"torch"`, `"caffe"` or `"inside"`. `None` if the
            model takes its inputs without preprocessing.
        preprocessing_inside: whether the artifacts contain the preprocessing and take RGB pixels in
            0..255. Otherwise the manifest describes it for the client.
        labels: class names, which are stored in the manifest and in each artifact. A model with one
            sigmoid may have two labels: first that of "no", then that of "yes".
        opset: opset of the ONNX files, 13 to 18. At 18 attention is not rewritten.
        integer_io: type of the inputs and outputs of the int8 TFLite file: `"int8"`, `"uint8"` or
            `"float32"`.
        batch_size: batch size of the TFLite files; `None` for any. Other formats take any batch
            size.
        float_layers: names of layers that stay in float32 in the int8 files.
        jpeg_signature: whether the SavedModel gets the signature `serving_jpeg`, which takes the
            bytes of JPEG files.
        target: the hardware for which attention is rewritten, without changing its function.

            - `"cpu"`: the float32 ONNX file uses matrix products and pools for reductions over the
              channels. TFLite files with a fixed batch compute convolutions with one output channel
              for several columns at a time. Both apply the last layer of the MLP only once.
            - `"npu"`: TFLite files use convolutions for means over the channels, which Arm's
              Ethos-U lacks.
            - `"generic"`: files stay as the converters write them.
        runtimes: further runtimes in which TFLite and ONNX files are verified, on some of the
            inputs: any of `"openvino"` and `"onnxruntime-web"`. `None` uses the installed ones.
        write_report: whether to write `report.md`. It lists where the operations of each artifact
            run, and why others do not: in XNNPACK, in LiteRT's GPU delegate (by kind of operation),
            and on an Ethos-U if `ethos-u-vela` is installed. It also lists the ONNX operations that
            only move values.
        progress: function that is called with a line of text for each step.

    Returns:
        A `Report`.

    Raises:
        InputError: on invalid arguments, or a model that cannot be exported.
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
    proof = proof or Proof()
    proof.check(names, KNOWN)
    if judge is not None and proof.judge is not None:
        raise InputError("Expected judge or a proof with a judge. Received: both")
    also_written = [*proof.companions, REFERENCE, *([REPORT] if write_report else []), MANIFEST]
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
        reference = request.prepared.answers(list(request.inputs.values()))
        subject = Subject(
            staging / "inputs.npz",
            reference,
            request.truth,
            request.drawn,
            judges=request.judges(reference, judge),
            by_agreement=proof.judge is None,
            judge=proof.judge,
            also=also,
        )
        save_arrays(subject.inputs, request.inputs)
        serving = Serving(
            request.prepared, staging, request.representative, options, request.metadata
        )
        asked = [artifact.judged_by(proof.tolerances) for artifact in chosen]
        found = _write_and_verify(asked, serving, subject, say)
        reports = tuple(each for each, _ in found)
        report = _report(directory, request, options, subject, reports, proof)
        if on_mismatch == "raise" and report.missed:
            missed = "; ".join(report.missed)
            hint = "" if judge or proof.judge else _other_judge(subject)
            raise VerificationError(f"Nothing was exported, because of {missed}.{hint}", report)
        answers = {each.name: outputs for each, outputs in found}
        write_reference(staging / REFERENCE, request.inputs, reference, answers)
        report = replace(report, beside_sha256=write_companions(proof, staging))
        if write_report:
            say("where the operations run")
            report = replace(report, delegations=delegations(staging, names))
            (staging / REPORT).write_text(report.markdown(), encoding="utf-8")
        write_manifest(report, staging / MANIFEST)
        publish(staging, directory, [*names, *also_written])
    return report


def _other_judge(subject: Subject) -> str:
    """Return advice for class scores that were judged as values; empty if there can be none."""
    names = [
        name
        for name, judge in subject.judges.items()
        if judge == VALUES and can_hold_classes(subject.reference[name]) and not subject.drawn
    ]
    if not names:
        return ""
    return f" If these are scores of classes, give judge {CLASSES} for them: {', '.join(names)}."


def _write_and_verify(
    chosen: list[Artifact], serving: Serving, subject: Subject, say: Callable[[str], None]
) -> list[tuple[ArtifactReport, Arrays]]:
    """Write the artifacts, and verify each one in its child process while the next is written."""
    with ThreadPoolExecutor(max_workers=1) as verifier:
        pending = []
        try:
            for artifact in chosen:
                say(f"{artifact.name}: writing")
                notes = artifact.write(serving, serving.scratch / artifact.name)
                pending.append(verifier.submit(_verified, artifact, serving, subject, notes))
            say("verifying the rest")
            return [future.result() for future in pending]
        except BaseException:
            verifier.shutdown(wait=False, cancel_futures=True)
            raise


def _verified(
    artifact: Artifact, serving: Serving, subject: Subject, notes: list[str]
) -> tuple[ArtifactReport, Arrays]:
    """Verify an artifact. The report of an integer TFLite file has the error of each operation."""
    report, outputs = verify_artifact(artifact, serving.scratch, subject, notes)
    if artifact.format == "tflite" and artifact.calibrated and outputs:
        try:
            report = replace(report, layers=layer_errors(serving, serving.scratch / artifact.name))
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
    proof: Proof,
) -> Report:
    reference = subject.reference
    first = next(iter(reference))
    images, spread = len(next(iter(request.inputs.values()))), spread_of(reference)
    return Report(
        directory=str(directory),
        beside=tuple(proof.companions),
        tolerances=dict(proof.tolerances),
        by_agreement=subject.by_agreement,
        inputs=request.described(),
        outputs=tuple(
            {"name": name, "shape": [None, *value.shape[1:]], "judge": subject.judges[name]}
            for name, value in reference.items()
        ),
        preprocessing=request.metadata.preprocessing,
        images=images,
        drawn=subject.drawn,
        spread=spread,
        accuracy=accuracy(reference[first], subject.labels, subject.judges[first]),
        artifacts=artifacts,
        labels=request.metadata.labels,
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
