"""`keras-cbam export`: a Keras model in, proven artifacts out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import keras
import typer

from keras_cbam.cli.artifact_table import (
    REPORT_HELP,
    RUNTIMES_HELP,
    misses_shown,
    precision_names,
    runtime_names,
    show,
)
from keras_cbam.cli.export_images import calibration_pixels, verification_pixels
from keras_cbam.cli.preprocessing_option import Preprocessing
from keras_cbam.cli.terminal import out
from keras_cbam.errors import InputError
from keras_cbam.export import Report
from keras_cbam.export import export as export_model
from keras_cbam.export.datasets import CALIBRATION_IMAGES
from keras_cbam.export.formats import FORMATS, PRECISIONS
from keras_cbam.export.judging import JUDGES
from keras_cbam.export.lowering import TARGETS
from keras_cbam.export.options import INTEGER_IO, Options
from keras_cbam.foreign_files import read_bounded
from keras_cbam.model_file import load_model
from keras_cbam.pixels import preprocessed

LARGEST_LABELS = 16 * 2**20
JUDGE_HELP = (
    f"How outputs are compared: {', '.join(JUDGES)}; or OUTPUT=HOW for some, separated by commas. "
    "By default it depends on the output."
)


def export(
    model: Annotated[Path, typer.Argument(help="A .keras file.")],
    output: Annotated[
        Path,
        typer.Option(help="Directory of the artifacts; those of an earlier export are replaced."),
    ],
    verification: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images, or of class folders, to compare on; without, inputs are drawn."
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of images that integer files are calibrated on.")
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="How many of them, drawn at random.")
    ] = CALIBRATION_IMAGES,
    formats: Annotated[str, typer.Option(help="Formats, separated by commas.")] = ",".join(FORMATS),
    precisions: Annotated[
        str | None,
        typer.Option(
            help=f"Of {', '.join(PRECISIONS)}, or all; by default float32, and int8 if calibrated."
        ),
    ] = None,
    preprocessing: Preprocessing = None,
    preprocessing_outside: Annotated[
        bool, typer.Option(help="Leave that to the client; the manifest tells what to do.")
    ] = False,
    opset: Annotated[int, typer.Option(help="Of the ONNX files.")] = Options.opset,
    integer_io: Annotated[
        str, typer.Option(help=f"Inputs and outputs of int8 TFLite: {', '.join(INTEGER_IO)}.")
    ] = Options.integer_io,
    batch_size: Annotated[int, typer.Option(help="Of the TFLite files; 0 for any.")] = (
        Options.batch_size or 0
    ),
    float_layers: Annotated[
        str | None,
        typer.Option(help="Layers that stay float32 in int8 files, separated by commas."),
    ] = None,
    jpeg_signature: Annotated[
        bool, typer.Option(help="Give the SavedModel a signature that takes JPEG files.")
    ] = False,
    target: Annotated[
        str, typer.Option(help=f"What the files will run on: {', '.join(TARGETS)}.")
    ] = Options.target,
    runtimes: Annotated[str | None, typer.Option(help=RUNTIMES_HELP)] = None,
    report: Annotated[bool, typer.Option("--report", help=REPORT_HELP)] = False,
    judge: Annotated[str | None, typer.Option(help=JUDGE_HELP)] = None,
    keep_mismatches: Annotated[
        bool, typer.Option(help="Keep and mark artifacts that miss their tolerance.")
    ] = False,
) -> None:
    """Write SavedModel, TFLite and ONNX files, each verified in its real runtime."""
    loaded = load_model(model)
    labels = _labels(model.with_name("labels.txt"))
    with out.status("reading images"):
        pixels, truth = verification_pixels(verification, loaded, labels)
        samples = calibration_pixels(calibration, loaded, calibration_images)
    if preprocessing_outside and preprocessing:
        pixels = None if pixels is None else preprocessed(pixels, preprocessing)
        samples = None if samples is None else preprocessed(samples, preprocessing)
    found = run(
        loaded,
        output,
        formats=tuple(formats.split(",")),
        precisions=precision_names(precisions),
        representative_dataset=samples,
        verification_data=None if pixels is None else (pixels, truth),
        on_mismatch="report" if keep_mismatches else "raise",
        preprocessing=preprocessing,
        preprocessing_inside=not preprocessing_outside,
        labels=labels,
        judge=_judge(judge),
        opset=opset,
        integer_io=integer_io,
        batch_size=batch_size or None,
        float_layers=_split(float_layers) or (),
        jpeg_signature=jpeg_signature,
        target=target,
        write_report=report,
        runtimes=runtime_names(runtimes),
    )
    out.print(f"written to {found.directory}", markup=False)
    if found.missed:
        raise typer.Exit(1)


def run(model: keras.Model, output: Path, **arguments: Any) -> Report:
    """Export with progress on the terminal and print the table; exit code 1 if a gate fails."""
    with misses_shown(), out.status("exporting") as status:
        report = export_model(model, output, **arguments, progress=status.update)
    show(report)
    return report


def _labels(path: Path) -> list[str] | None:
    if not path.is_file():
        return None
    try:
        return read_bounded(path, LARGEST_LABELS).decode().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"Expected labels in UTF-8. Received: {path}, {error}") from error


def _judge(text: str | None) -> str | dict[str, str] | None:
    """One way for all outputs, or one each by name."""
    if text is None or "=" not in text:
        return text
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    if not all(name for name, _, _ in pairs):
        raise InputError(f"Expected judge OUTPUT=HOW, separated by commas. Received: {text}")
    return {name: how for name, _, how in pairs}


def _split(names: str | None) -> tuple[str, ...] | None:
    return tuple(names.split(",")) if names else None
