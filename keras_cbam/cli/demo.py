"""`keras-cbam demo`: fine-tune and export on scikit-learn's digits, and write a web page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_cbam.cli import export, finetune
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out
from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.errors import InputError, require
from keras_cbam.files import atomic_path, check_writable

if TYPE_CHECKING:
    import numpy as np

    from keras_cbam.export import Report
    from keras_cbam.training import FineTuneResult

RUN: dict[str, Any] = {
    "backbone": "MobileNet",
    "backbone_options": {"alpha": 0.25},
    "weights": "none",
    "image_size": 40,
    # Attention at every point of MobileNet takes longer to compile than to train.
    "points": "stage_ends",
    "batch_size": 64,
    # With fewer epochs, int8 files give other answers for too many digits.
    "epochs": 18,
    "learning_rate": 6e-3,
    # At 2e-2, one run of five was better without its attention; at this rate, none of five was.
    "attention_learning_rate": 6e-2,
    "head_learning_rate": 6e-3,
    # This short training does not overfit.
    "dropout": 0.0,
    "augmentations": ("crop",),
    # Without small crops, the network hardly needs its attention.
    "crop_area": 0.3,
    "val_split": 0.2,
}
FOLDERS = ("digits", "model", "export")
# Marks the output of a demo, which the next demo may replace.
MARKER = ".keras_cbam_demo"
CALIBRATION_IMAGES = 200
PICTURES = 6


def demo(
    output: Annotated[Path, typer.Option(help="Directory of everything the demo writes.")] = Path(
        "demo"
    ),
) -> None:
    """Fine-tune, export and verify on an embedded data set, without the internet."""
    start(trains=True, needs_tensorflow=True)
    from keras_cbam.export.formats import WRITTEN_WITH
    from keras_cbam.training import ImageBatches
    from keras_cbam.training.digits import write_digits
    from keras_cbam.training.processes import ALONE

    require("sklearn", *(module for modules in WRITTEN_WITH.values() for module in modules))
    check_writable(output)
    if not (output / MARKER).exists():
        for folder in (output / name for name in FOLDERS):
            if folder.exists():
                raise InputError(f"{folder} is in the way, and no demo wrote it.")
    for name in FOLDERS:
        shutil.rmtree(output / name, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARKER).touch()
    write_digits(output / "digits")
    config = FineTuneConfig(data=str(output / "digits"), output=str(output / "model"), **RUN)
    result = finetune.run(config, ALONE)
    finetune.show(result, config)
    train = ImageBatches(result.folder.train, config.image_size, CALIBRATION_IMAGES, training=True)
    images, labels = ImageBatches(result.folder.val, config.image_size, len(result.folder.val))[0]
    report = export.run(
        result.model,
        output / "export",
        representative_dataset=train[0][0],
        verification_data=(images, labels),
        labels=result.folder.classes,
    )
    with atomic_path(output / "report.html") as path:
        write_report(result, report, images, labels, path)
    out.print(f"open {output / 'report.html'}")


def write_report(
    result: FineTuneResult, report: Report, images: np.ndarray, labels: np.ndarray, path: Path
) -> None:
    """Write the page: accuracy, artifacts, gates, pictures."""
    from keras_cbam.export.proof.report import COLUMNS
    from keras_cbam.visualize import WebPage, draw_spatial_gates

    record = result.record
    model_directory = Path(record["config"]["output"])
    page = WebPage("keras_cbam: from a folder of images to verified artifacts")
    places = len({gate["layer"] for gate in record["attention"]["gates"]})
    page.paragraph(
        f"{record['config']['backbone']} with CBAM at {places} places, trained from "
        f"random weights on {record['images']['train']} handwritten digits of scikit-learn. "
        f"Accuracy on {record['images']['val']} digits it never saw: "
        f"{record['val']['accuracy']:.2%}."
    )
    page.picture(model_directory / "curves.png", "loss and accuracy by epoch")
    page.heading("Artifacts, each compared with Keras in its real runtime")
    page.table(COLUMNS, report.rows())
    for remark in report.remarks():
        page.paragraph(remark)
    page.heading("Where the network looks")
    page.paragraph(
        "The last spatial gate of each resolution: positions above 1 are strengthened, positions "
        "below 1 are weakened."
    )
    picture = model_directory / "attention.png"
    every = len(labels) // PICTURES
    chosen = [every * index for index in range(PICTURES)]
    titles = [f"digit {result.folder.classes[label]}" for label in labels[chosen]]
    draw_spatial_gates(result.model, images[chosen], titles, picture)
    page.picture(picture, "digits beside the spatial gates of the network")
    page.heading("What the attention is worth")
    page.paragraph(
        f"{record['attention']['sentence']}. The settings of this demo were chosen so that its "
        "attention is used. They are no evidence that attention helps."
    )
    page.table(
        ("attention layer", "gate", "mean", "sd over images", "sd over places", "changes without"),
        [
            (
                gate["layer"],
                gate["kind"],
                *(f"{gate[name]:.4f}" for name in ("mean", "over_images", "over_places")),
                f"{1 - gate['replaced']['agreement']:.1%} of the answers",
            )
            for gate in record["attention"]["gates"]
        ],
    )
    page.write(path)
