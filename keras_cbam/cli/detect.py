"""`keras-cbam detect`: detectors with attention, from images with boxes to proven files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.options import takes
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import counting, out, progress_bar
from keras_cbam.config.detection import DetectionConfig
from keras_cbam.errors import require
from keras_cbam.files import check_writable
from keras_cbam.image_files import check_name

FORMATS = ("tflite", "onnx")
# Number of images that are drawn with the detected boxes beside the true ones.
PICTURES = 6
# The lowest score at which a box is drawn.
SHOWN = 0.5
CALIBRATION_IMAGES = 200
# The pixels and raw outputs of these images are in memory at once.
VERIFICATION_IMAGES = 200
# All images are drawn in one picture.
MOST_PICTURES = 100

app = typer.Typer(
    no_args_is_help=True,
    help="Train, score, run and export a RetinaNet whose backbone has attention.",
)
Detector = Annotated[Path, typer.Argument(help="A .keras file with labels.txt beside it.")]
Data = Annotated[Path, typer.Argument(help="Folder of images with boxes, in VOC or COCO format.")]
ValSplit = Annotated[
    float | None,
    typer.Option(help="Share of the images to use as the split val, if DATA has none."),
]


@app.command()
@takes(DetectionConfig)
def train(config: DetectionConfig, resume: shared.Resume = False) -> None:
    """Train a detector on images with boxes, and measure COCO's mAP on val after each epoch."""
    start(trains=True)
    from keras_cbam.cli.detect_inputs import tell_left_out
    from keras_cbam.cli.epoch_progress import EpochProgress
    from keras_cbam.detection import train_detector

    try:
        with progress_bar() as bar, counting(bar, "images checked") as update:
            result = train_detector(
                config,
                resume=resume,
                callbacks=[EpochProgress(bar)],
                progress=update,
                scored=lambda metrics: bar.console.print(_line(metrics), highlight=False),
            )
    except KeyboardInterrupt:
        out.print("interrupted; the same command with --resume continues from the last saved step")
        raise
    for split, part in result.folder.splits.items():
        tell_left_out(split, part)
    best = result.record["best"]
    out.print(f"best on val, epoch {best['epoch']}: {_line(best)}")
    if result.record["attention"]:
        out.print(result.record["attention"]["sentence"], highlight=False)
    out.print(f"report: {config.output}/report.md")
    share = config.val_split
    divided = f"--split val --val-split {share:g} " if share is not None else ""
    out.print(
        f"next: keras-cbam detect evaluate {config.output}/model.keras {config.data} {divided}"
        "--output ..."
    )


@app.command()
def evaluate(
    model: Detector,
    data: Data,
    output: Annotated[Path, typer.Option(help="Directory of scores, detections and pictures.")],
    split: Annotated[str, typer.Option(help="Split of DATA to score on.")] = "test",
    val_split: ValSplit = None,
    pictures: Annotated[
        int, typer.Option(min=1, max=MOST_PICTURES, help="Number of images to draw.")
    ] = PICTURES,
) -> None:
    """Score a detector by COCO's metrics, and draw the detected boxes beside the true ones."""
    start()
    from keras_cbam.cli.detect_inputs import load_with_classes, read_splits
    from keras_cbam.detection import evaluate_detector

    require("pycocotools", "matplotlib")
    check_writable(output)
    detector, classes = load_with_classes(model)
    part = read_splits(data, [split], classes, val_split)[split]
    with out.status("detecting"):
        metrics = evaluate_detector(detector, part, classes, output, name=split, pictures=pictures)
    out.print(_line(metrics), highlight=False)
    out.print(f"report: {output}/evaluation.md")


@app.command()
def predict(
    model: Detector,
    images: shared.Images,
    output: Annotated[Path, typer.Option(help="Directory of pictures and detections.json.")],
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Lowest score at which a box is drawn.")
    ] = SHOWN,
) -> None:
    """Draw the boxes that a detector finds in images."""
    start()
    from keras_cbam.cli.detect_inputs import load_with_classes
    from keras_cbam.cli.model_images import images_in
    from keras_cbam.detection import Predictor
    from keras_cbam.detection.evaluate import write_predictions
    from keras_cbam.detection.folder import unannotated
    from keras_cbam.detection.predict import CONFIDENCE

    require("matplotlib", "PIL")
    check_writable(output)
    for path in images:
        check_name(path)
    detector, classes = load_with_classes(model)
    photographs = unannotated(images_in(images))
    with out.status("detecting"):
        predictor = Predictor(detector, confidence_threshold=min(threshold, CONFIDENCE))
        found = predictor(photographs)
        write_predictions(photographs, found, classes, output, threshold=threshold)
    for image, each in zip(photographs, found, strict=True):
        names = [classes[label] for label in each.labels[each.scores >= threshold]]
        told = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
        out.print(f"{image.path.name}: {told or 'nothing'}", highlight=False)
    out.print(f"written to {output}")


@app.command()
def export(
    model: Detector,
    data: Data,
    output: shared.Artifacts,
    split: Annotated[str, typer.Option(help="Split of DATA to prove the artifacts on.")] = "test",
    val_split: ValSplit = None,
    images: Annotated[
        int, typer.Option(min=1, help="Maximum number of images to prove on, drawn at random.")
    ] = VERIFICATION_IMAGES,
    calibration_split: Annotated[
        str, typer.Option(help="Split of DATA to calibrate integer files on, or 'none'.")
    ] = "train",
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Maximum number of calibration images, drawn at random.")
    ] = CALIBRATION_IMAGES,
    formats: Annotated[str, typer.Option(help="Formats, separated by commas.")] = ",".join(FORMATS),
    precisions: shared.Precisions = None,
    runtimes: shared.Runtimes = None,
    keep_mismatches: Annotated[
        bool, typer.Option(help="Keep and mark artifacts that find other boxes.")
    ] = False,
) -> None:
    """Write the raw heads as TFLite and ONNX files with their decoder, proven by boxes and mAP."""
    start(needs_tensorflow=True)
    from keras_cbam.cli.artifact_table import misses_shown, print_table, show
    from keras_cbam.cli.detect_inputs import load_with_classes, read_splits, some_of
    from keras_cbam.detection.export import COLUMNS, export_detector, table

    detector, classes = load_with_classes(model)
    calibrated = calibration_split != "none"
    splits = [split, *([calibration_split] if calibrated else [])]
    folder = read_splits(data, splits, classes, val_split)
    proven = some_of(folder[split], images)
    samples = some_of(folder[calibration_split], calibration_images) if calibrated else None
    with misses_shown(), out.status("exporting") as status:
        result = export_detector(
            detector,
            output,
            proven,
            classes,
            formats=tuple(formats.split(",")),
            precisions=shared.precision_names(precisions),
            calibration=samples,
            on_mismatch="report" if keep_mismatches else "raise",
            runtimes=shared.runtime_names(runtimes),
            progress=status.update,
        )
    show(result.report)
    print_table(f"what is found in {len(proven)} images", COLUMNS, table(result.agreements))
    out.print(f"written to {output}")
    if result.report.missed:
        raise typer.Exit(1)


def _line(metrics: dict[str, Any]) -> str:
    from keras_cbam.detection.report import CURVES, shown

    return "  ".join(f"{name} {shown(metrics[name])}" for name in CURVES)
