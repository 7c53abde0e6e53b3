"""`keras-cbam export`: export a Keras model to proven artifacts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.options import takes
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out
from keras_cbam.config.export import ExportOptions
from keras_cbam.config.names import FORMATS, JUDGES
from keras_cbam.errors import InputError

if TYPE_CHECKING:
    import keras

    from keras_cbam.export import Report

# The default of `export_model`.
CALIBRATION_IMAGES = 200
JUDGE_HELP = (
    f"How to compare outputs: {', '.join(JUDGES)}; or OUTPUT=HOW for single outputs, separated by "
    "commas. By default it depends on the output."
)


@takes(ExportOptions)
def export(
    model: Annotated[Path, typer.Argument(help="A .keras file.")],
    output: shared.Artifacts,
    options: ExportOptions,
    verification: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images, or of class folders, to compare on; by default, inputs are "
            "drawn at random."
        ),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of images to calibrate integer files on.")
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Number of calibration images, drawn at random.")
    ] = CALIBRATION_IMAGES,
    formats: Annotated[str, typer.Option(help="Formats, separated by commas.")] = ",".join(FORMATS),
    precisions: shared.Precisions = None,
    preprocessing: shared.Preprocessing = None,
    preprocessing_outside: Annotated[
        bool, typer.Option(help="Leave the preprocessing to the client; the manifest describes it.")
    ] = False,
    runtimes: shared.Runtimes = None,
    report: shared.WriteReport = False,
    judge: Annotated[str | None, typer.Option(help=JUDGE_HELP)] = None,
    keep_mismatches: Annotated[
        bool, typer.Option(help="Keep and mark artifacts that miss their tolerance.")
    ] = False,
) -> None:
    """Write SavedModel, TFLite and ONNX files, each verified in its real runtime."""
    start(needs_tensorflow=True)
    from keras_cbam.cli.model_images import calibration_pixels, verification_pixels
    from keras_cbam.model_file import labels_beside, load_model
    from keras_cbam.pixels import preprocessed

    loaded = load_model(model)
    labels = labels_beside(model)
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
        precisions=shared.precision_names(precisions),
        representative_dataset=samples,
        verification_data=None if pixels is None else (pixels, truth),
        on_mismatch="report" if keep_mismatches else "raise",
        preprocessing=preprocessing,
        preprocessing_inside=not preprocessing_outside,
        labels=labels,
        judge=_judge(judge),
        write_report=report,
        runtimes=shared.runtime_names(runtimes),
        **asdict(options),
    )
    out.print(f"written to {found.directory}")
    if found.missed:
        raise typer.Exit(1)


def run(model: keras.Model, output: Path, **arguments: Any) -> Report:
    """Export with progress on the terminal, and print the table; exit with 1 if it raises."""
    from keras_cbam.cli.artifact_table import misses_shown, show
    from keras_cbam.export import export_model

    with misses_shown(), out.status("exporting") as status:
        report = export_model(model, output, **arguments, progress=status.update)
    show(report)
    return report


def _judge(text: str | None) -> str | dict[str, str] | None:
    """Return one way of comparing for all outputs, or one for each, by name."""
    if text is None or "=" not in text:
        return text
    pairs = [pair.rpartition("=") for pair in text.split(",")]
    if not all(name for name, _, _ in pairs):
        raise InputError(f"Expected judge OUTPUT=HOW, separated by commas. Received: {text}")
    return {name: how for name, _, how in pairs}
