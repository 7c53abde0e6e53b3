"""`keras-cbam export`: a Keras model in, proven artifacts out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from rich.table import Table

from keras_cbam.cli.terminal import errors, out
from keras_cbam.errors import InputError
from keras_cbam.export import Report, VerificationError, load_model
from keras_cbam.export import export as export_model
from keras_cbam.export.formats import FORMATS, PRECISIONS
from keras_cbam.export.report import COLUMNS
from keras_cbam.training import ImageBatches, ImageSet, find_images


def export(
    model: Annotated[Path, typer.Argument(help="A .keras file that takes RGB pixels in 0..255.")],
    output: Annotated[
        Path,
        typer.Option(help="Directory of the artifacts; those of an earlier export are replaced."),
    ],
    verification: Annotated[
        Path, typer.Option(help="Folder of images, or of class folders, to compare on.")
    ],
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of images that int8 is calibrated on.")
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="How many of them, drawn at random.")
    ] = 200,
    formats: Annotated[str, typer.Option(help="Formats, separated by commas.")] = ",".join(FORMATS),
    precisions: Annotated[
        str | None,
        typer.Option(
            help=f"Of {', '.join(PRECISIONS)}; by default all that the calibration allows."
        ),
    ] = None,
    keep_mismatches: Annotated[
        bool, typer.Option(help="Keep and mark artifacts that miss their tolerance.")
    ] = False,
) -> None:
    """Write SavedModel, TFLite and ONNX files, each verified in its real runtime."""
    loaded = load_model(model)
    labels = _labels(model.with_name("labels.txt"))
    size = _image_size(loaded)
    with out.status("reading images"):
        images = _find(verification, labels)
        pixels = _read(images, size)
        samples = _calibration(calibration, size, calibration_images)
    report = run(
        loaded,
        output,
        formats=tuple(formats.split(",")),
        precisions=tuple(precisions.split(",")) if precisions else None,
        representative_dataset=samples,
        verification_data=(
            pixels,
            images.labels if labels and (images.labels >= 0).all() else None,
        ),
        on_mismatch="report" if keep_mismatches else "raise",
        labels=labels,
    )
    out.print(f"written to {report.directory}", markup=False)
    if not report.verified:
        raise typer.Exit(1)


def run(model: keras.Model, output: Path, **arguments: Any) -> Report:
    """Export with progress on the terminal and print the table; exit code 1 if a gate fails."""
    try:
        with out.status("exporting") as status:
            report = export_model(model, output, **arguments, progress=status.update)
    except VerificationError as error:
        show(error.report)
        errors.print(f"keras-cbam: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error
    show(report)
    return report


def show(report: Report) -> None:
    """Print the table of artifacts and what was noted."""
    table = Table(*COLUMNS, title=f"compared with Keras on {report.images} inputs")
    for row in report.rows():
        table.add_row(*row)
    out.print(table)
    for remark in report.remarks():
        out.print(remark, markup=False, highlight=False)


def _labels(path: Path) -> list[str] | None:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else None


def _image_size(model: keras.Model) -> int:
    shape = tuple(model.inputs[0].shape)
    square = len(shape) == 4 and shape[1] is not None and shape[1] == shape[2]
    if len(model.inputs) != 1 or not square or shape[3] != 3:
        raise InputError(
            f"Expected a model of one square RGB image, (None, size, size, 3). Received: {shape}"
        )
    return shape[1]


def _calibration(folder: Path | None, size: int, count: int) -> np.ndarray | None:
    if folder is None:
        return None
    images = _find(folder, None)
    order = np.random.default_rng(0).permutation(len(images))
    return _read(images.take(order[:count]), size)


def _find(folder: Path, labels: list[str] | None) -> ImageSet:
    images, skipped = find_images(folder, labels)
    for path in skipped:
        errors.print(
            f"left out, no image that can be decoded in 8 bits a channel: {path}", markup=False
        )
    return images


def _read(images: ImageSet, size: int) -> np.ndarray:
    batches = ImageBatches(images, size)
    return np.concatenate([batches[index][0] for index in range(len(batches))])
