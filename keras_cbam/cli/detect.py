"""`keras-cbam detect`: detectors with attention, from photographs with boxes to proven files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_cbam.cli.artifact_table import (
    RUNTIMES_HELP,
    misses_shown,
    precision_names,
    print_table,
    runtime_names,
    show,
)
from keras_cbam.cli.backbone_options import BackboneOptions, parse
from keras_cbam.cli.detect_inputs import (
    load_with_classes,
    parse_size,
    read_splits,
    some_of,
    tell_left_out,
)
from keras_cbam.cli.terminal import EpochProgress, counting, out, progress_bar, tell_skipped
from keras_cbam.detection import (
    DetectionConfig,
    Predictor,
    train_detector,
)
from keras_cbam.detection.augmentation import AUGMENTATIONS
from keras_cbam.detection.evaluate import evaluate_detector, write_predictions
from keras_cbam.detection.export import COLUMNS, FORMATS, export_detector, table
from keras_cbam.detection.folder import unannotated
from keras_cbam.detection.pictures import SHOWN
from keras_cbam.detection.predict import CONFIDENCE
from keras_cbam.detection.report import PICTURES
from keras_cbam.errors import InputError, require
from keras_cbam.export.datasets import CALIBRATION_IMAGES
from keras_cbam.export.formats import PRECISIONS
from keras_cbam.files import check_writable
from keras_cbam.image_files import check_name
from keras_cbam.surgery import ATTENTIONS

DEFAULTS = DetectionConfig(data="", output="")
# Their pixels and raw outputs are in memory at once.
VERIFICATION_IMAGES = 200
# They are one picture.
MOST_PICTURES = 100

app = typer.Typer(
    no_args_is_help=True,
    help="Train, score, run and export a RetinaNet whose backbone has attention.",
)
Detector = Annotated[Path, typer.Argument(help="A .keras file, labels.txt beside it.")]
Data = Annotated[Path, typer.Argument(help="Folder of photographs with boxes, as VOC or COCO.")]
ValSplit = Annotated[
    float | None,
    typer.Option(help="Share of the images that is the split val, where DATA has none."),
]


@app.command()
def train(
    data: Data,
    output: Annotated[Path, typer.Option(help="Directory of the results.")],
    val_split: ValSplit = DEFAULTS.val_split,
    backbone: Annotated[
        str, typer.Option(help="A builder of keras.applications.")
    ] = DEFAULTS.backbone,
    weights: Annotated[
        str, typer.Option(help="'imagenet', 'none', or the path of a weights file.")
    ] = DEFAULTS.weights,
    attention: Annotated[
        str, typer.Option(help=f"One of {', '.join(ATTENTIONS)}; or none.")
    ] = DEFAULTS.attention,
    image_size: Annotated[
        str, typer.Option(help="Side, or HEIGHTxWIDTH, of the input, multiples of 32.")
    ] = str(DEFAULTS.image_size[0]),
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = DEFAULTS.batch_size,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs.")] = DEFAULTS.epochs,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate, of Adam with cosine decay.")
    ] = DEFAULTS.learning_rate,
    attention_learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate of attention; by default three times --learning-rate."
        ),
    ] = DEFAULTS.attention_learning_rate,
    warmup: Annotated[
        float, typer.Option(help="Share of the steps in which the rate rises from 0.")
    ] = DEFAULTS.warmup,
    clip_norm: Annotated[
        float, typer.Option(min=0, help="Norm that gradients are scaled down to; 0 for none.")
    ] = DEFAULTS.clip_norm or 0.0,
    ema: Annotated[
        float | None,
        typer.Option(help="Momentum of a moving average of the weights; by default none."),
    ] = DEFAULTS.ema,
    anchor_size: Annotated[
        float | None,
        typer.Option(help="Smallest anchor, in steps of its level; by default what fits train."),
    ] = DEFAULTS.anchor_size,
    head_layers: Annotated[
        int, typer.Option(min=0, help="Convolutions in each head; they dominate the cost.")
    ] = DEFAULTS.head_layers,
    augment: Annotated[
        str, typer.Option(help=f"Augmentations, of {', '.join(AUGMENTATIONS)}; or 'none'.")
    ] = ",".join(DEFAULTS.augmentations),
    backbone_option: BackboneOptions = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = DEFAULTS.seed,
    dtype_policy: Annotated[
        str, typer.Option(help="float32, mixed_bfloat16 or mixed_float16.")
    ] = DEFAULTS.dtype_policy,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between two saves of the state to resume from.")
    ] = DEFAULTS.checkpoint_seconds,
    resume: Annotated[bool, typer.Option(help="Go on with the interrupted run in OUTPUT.")] = False,
) -> None:
    """Train a detector on photographs with boxes; COCO's mAP on val after each epoch."""
    config = DetectionConfig(
        data=str(data),
        output=str(output),
        val_split=val_split,
        backbone=backbone,
        weights=weights,
        attention=attention,
        image_size=parse_size(image_size),
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        attention_learning_rate=attention_learning_rate,
        warmup=warmup,
        clip_norm=clip_norm or None,
        ema=ema,
        anchor_size=anchor_size,
        head_layers=head_layers,
        augmentations=() if augment == "none" else tuple(augment.split(",")),
        seed=seed,
        backbone_options=parse(backbone_option),
        dtype_policy=dtype_policy,
        checkpoint_seconds=checkpoint_seconds,
    )
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
        out.print("interrupted; with --resume the same command goes on from the last saved step")
        raise
    for split, part in result.folder.splits.items():
        tell_left_out(split, part)
    best = result.record["best"]
    out.print(f"best on val, epoch {best['epoch']}: {_line(best)}", markup=False)
    if result.record["attention"]:
        out.print(result.record["attention"]["sentence"], markup=False, highlight=False)
    out.print(f"report: {output}/report.md", markup=False)
    divided = f"--split val --val-split {val_split:g} " if val_split is not None else ""
    out.print(
        f"next: keras-cbam detect evaluate {output}/model.keras {data} {divided}--output ...",
        markup=False,
    )


@app.command()
def evaluate(
    model: Detector,
    data: Data,
    output: Annotated[Path, typer.Option(help="Directory of scores, detections and pictures.")],
    split: Annotated[str, typer.Option(help="Which part of DATA.")] = "test",
    val_split: ValSplit = None,
    pictures: Annotated[
        int, typer.Option(min=1, max=MOST_PICTURES, help="How many images to draw.")
    ] = PICTURES,
) -> None:
    """Score a detector by COCO's metrics, and draw what it finds beside what there is."""
    require("pycocotools", "matplotlib")
    check_writable(output)
    detector, classes = load_with_classes(model)
    part = read_splits(data, [split], classes, val_split)[split]
    tell_left_out(split, part)
    with out.status("detecting"):
        metrics = evaluate_detector(detector, part, classes, output, name=split, pictures=pictures)
    out.print(_line(metrics), highlight=False)
    out.print(f"report: {output}/evaluation.md", markup=False)


@app.command()
def predict(
    model: Detector,
    images: Annotated[list[Path], typer.Argument(help="Images, and folders of images.")],
    output: Annotated[Path, typer.Option(help="Directory of pictures and detections.json.")],
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Score from which a box is drawn.")
    ] = SHOWN,
) -> None:
    """Draw what a detector finds in images."""
    require("matplotlib", "PIL")
    check_writable(output)
    for path in images:
        check_name(path)
    detector, classes = load_with_classes(model)
    photographs, skipped = unannotated(images)
    tell_skipped(skipped)
    if not photographs:
        raise InputError("None of the images can be decoded.")
    with out.status("detecting"):
        predictor = Predictor(detector, confidence_threshold=min(threshold, CONFIDENCE))
        found = predictor(photographs)
        write_predictions(photographs, found, classes, output, threshold=threshold)
    for image, each in zip(photographs, found, strict=True):
        names = [classes[label] for label in each.labels[each.scores >= threshold]]
        told = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
        out.print(f"{image.path.name}: {told or 'nothing'}", markup=False, highlight=False)
    out.print(f"written to {output}", markup=False)


@app.command()
def export(
    model: Detector,
    data: Data,
    output: Annotated[
        Path,
        typer.Option(help="Directory of the artifacts; those of an earlier export are replaced."),
    ],
    split: Annotated[str, typer.Option(help="Part of DATA to prove the artifacts on.")] = "test",
    val_split: ValSplit = None,
    images: Annotated[
        int, typer.Option(min=1, help="How many of its images at most, drawn at random.")
    ] = VERIFICATION_IMAGES,
    calibration_split: Annotated[
        str, typer.Option(help="Part to calibrate integer files on; or 'none'.")
    ] = "train",
    calibration_images: Annotated[
        int, typer.Option(min=1, help="How many of its images at most, drawn at random.")
    ] = CALIBRATION_IMAGES,
    formats: Annotated[str, typer.Option(help="Formats, separated by commas.")] = ",".join(FORMATS),
    precisions: Annotated[
        str | None,
        typer.Option(
            help=f"Of {', '.join(PRECISIONS)}, or all; by default float32, and int8 if calibrated."
        ),
    ] = None,
    runtimes: Annotated[str | None, typer.Option(help=RUNTIMES_HELP)] = None,
    keep_mismatches: Annotated[
        bool, typer.Option(help="Keep and mark artifacts that find something else.")
    ] = False,
) -> None:
    """Write the raw heads as TFLite and ONNX with their decoder, proven by boxes and mAP."""
    detector, classes = load_with_classes(model)
    calibrated = calibration_split != "none"
    splits = [split, *([calibration_split] if calibrated else [])]
    folder = read_splits(data, splits, classes, val_split)
    for name in dict.fromkeys(splits):
        tell_left_out(name, folder[name])
    proven = some_of(folder[split], images)
    with misses_shown(), out.status("exporting") as status:
        result = export_detector(
            detector,
            output,
            proven,
            classes,
            formats=tuple(formats.split(",")),
            precisions=precision_names(precisions),
            calibration=(
                some_of(folder[calibration_split], calibration_images) if calibrated else None
            ),
            on_mismatch="report" if keep_mismatches else "raise",
            runtimes=runtime_names(runtimes),
            progress=status.update,
        )
    show(result.report)
    print_table(f"what is found in {len(proven)} images", COLUMNS, table(result.agreements))
    out.print(f"written to {output}", markup=False)
    if result.report.missed:
        raise typer.Exit(1)


def _line(metrics: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {metrics[name]:.1%}" if metrics[name] is not None else f"{name} -"
        for name in ("mAP", "mAP50", "mAP75")
    )
