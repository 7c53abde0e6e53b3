"""Files of a finished training run: model, labels, history, curves, predictions, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_cbam.detection.folder import DetectionFolder
from keras_cbam.detection.pictures import side_by_side
from keras_cbam.detection.predict import Predictor
from keras_cbam.text import as_markdown
from keras_cbam.training.measure_use import use_lines
from keras_cbam.training.output import write_results

PICTURES = 6
DPI = 110
CURVES = ("mAP", "mAP50", "mAP75")


def write_outputs(
    detector: keras.Model,
    predictor: Predictor,
    folder: DetectionFolder,
    record: dict[str, Any],
    output: Path,
) -> None:
    """Write every file of a finished run."""

    def draw_predictions(path: Path) -> None:
        some = folder["val"].photographs[:PICTURES]
        side_by_side(some, predictor(some), folder.classes).savefig(path, dpi=DPI)

    files: dict[str, Callable[[Path], Any]] = {
        "model.keras": partial(detector.save, include_optimizer=False),
        "curves.png": partial(draw_curves, record),
        "predictions.png": draw_predictions,
    }
    write_results(output, record, folder.classes, files, report_text(record))


def draw_curves(record: dict[str, Any], path: Path) -> None:
    """Draw the loss on train and the metrics on val for each epoch."""
    from matplotlib.figure import Figure

    rows = record["epochs"]
    epochs = range(1, len(rows) + 1)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    losses.plot(epochs, [row["loss"] for row in rows], "o-", label="train (augmented)")
    for name in CURVES:
        scores.plot(epochs, [row[f"selection_{name}"] for row in rows], "s-", label=f"{name}, val")
    for axes, title in ((losses, "loss"), (scores, "COCO's metrics")):
        axes.axvline(record["best"]["epoch"], color="0.6", linestyle="--", label="best")
        axes.set(xlabel="epoch", title=title, xlim=(0.5, len(rows) + 0.5))
        axes.locator_params(axis="x", integer=True)
        axes.legend()
    figure.savefig(path, dpi=DPI)


def report_text(record: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    config, best = record["config"], record["best"]
    train, val = record["splits"]["train"], record["splits"]["val"]
    height, width = config["image_size"]
    lines = [
        f"# RetinaNet on {config['backbone']} with attention {config['attention']}",
        "",
        f"- best weights: epoch {best['epoch']} of {len(record['epochs'])}, by mAP on val",
        f"- trained on {train['images']} images with {train['boxes']:,} boxes of "
        f"{len(record['classes'])} classes at {height}x{width} pixels (height x width), "
        f"seed {config['seed']}; val has {val['images']} images with {val['boxes']:,} boxes",
        f"- anchors of size {record['anchor_size']:g}: {record['boxes_with_an_anchor']:.1%} of the "
        "boxes of train have one to learn from",
        f"- parameters: {record['parameters']:,}",
        "",
        *metrics_table("val", best, record["classes"]),
        "",
        *left_out_lines(record["splits"]),
        "",
        "The model takes RGB pixels in 0..255, the image scaled as a whole to fit, black at right "
        "and bottom; the rest of the preprocessing is inside its graph.",
        "",
        "![loss and metrics](curves.png)",
        "",
        "| epoch | loss | mAP | mAP50 | mAP75 |",
        "|---|---|---|---|---|",
    ]
    for number, row in enumerate(record["epochs"], start=1):
        scores = " | ".join(shown(row[f"selection_{name}"]) for name in CURVES)
        lines.append(f"| {number} | {row['loss']:.4f} | {scores} |")
    if record["attention"]:
        lines += ["", "## What the attention is worth", "", *use_lines(record["attention"])]
    lines += [
        "",
        "![found, and annotated](predictions.png)",
        "",
        "Next: `keras-cbam detect evaluate model.keras <folder> --split test --output evaluation`",
    ]
    return "\n".join(lines) + "\n"


def metrics_table(
    split: str, scores: Mapping[str, float | None], classes: Sequence[str]
) -> list[str]:
    """Return a Markdown table of COCO's metrics on a split as lines."""
    names = [*CURVES, *(f"AP50 {name}" for name in classes)]
    return [
        f"| | {' | '.join(map(as_markdown, names))} |",
        "|---" * (len(names) + 1) + "|",
        f"| {split} | {' | '.join(shown(scores[name]) for name in names)} |",
    ]


def left_out_lines(splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return lines that list the annotations left out and the images without boxes."""
    left_out = [(name, *each) for name, split in splits.items() for each in split["left_out"]]
    empty = [(name, image) for name, split in splits.items() for image in split["without_boxes"]]
    return [
        f"Left out of the annotations: {len(left_out)}",
        *(f"- {name}, {as_markdown(where)}: {as_markdown(what)}" for name, where, what in left_out),
        "",
        f"Images without a box: {len(empty)}",
        *(f"- {name}, {as_markdown(image)}" for name, image in empty),
    ]


def shown(value: float | None) -> str:
    """Return a metric as text, in percent."""
    return "-" if value is None else f"{value:.1%}"
