"""The record of a finished run, and its files: model, labels, history, curves, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_cbam.config.fine_tune import HEAD_PHASE, WHOLE_PHASE, FineTuneConfig
from keras_cbam.config.fine_tune_defaults import BESIDE_FROZEN
from keras_cbam.surgery.summary import count_parameters
from keras_cbam.text import as_markdown
from keras_cbam.training.adapter import save_adapter
from keras_cbam.training.image_folder import ImageFolder
from keras_cbam.training.measure_use import measure_use, use_lines
from keras_cbam.training.output import write_results
from keras_cbam.training.recalibrate import backbone_norms
from keras_cbam.training.scores import Scorer, scores

SETS = ("train", "selection", "val")


def run_record(
    config: FineTuneConfig,
    folder: ImageFolder,
    scorer: Scorer,
    *,
    position: dict[str, Any],
    best: dict[str, Any],
    seconds: float,
    batches_per_epoch: int,
) -> dict[str, Any]:
    """Score the kept weights on val once, measure the attention, and return the record of the run.

    Args:
        config: the configuration of the run, with the learning rates that it used.
        folder: its images.
        scorer: the scorer of its model, which has the kept weights.
        position: the position of its `TrainingLoop`.
        best: scores and epoch of the kept weights.
        seconds: training time, in seconds.
        batches_per_epoch: steps per epoch.
    """
    probabilities = scorer.probabilities(folder.val)
    val = scores(probabilities, folder.val.labels)
    if config.balance:
        weighted = scores(probabilities, folder.val.labels, folder.val.weights)
        val["balanced_accuracy"] = weighted["accuracy"]
    history = position["history"]
    began = time.monotonic()
    use = measure_use(scorer, folder.val, len(history) * batches_per_epoch)
    return {
        "config": asdict(config),
        "classes": list(folder.classes),
        "images": {name: len(getattr(folder, name)) for name in SETS},
        "skipped": [str(path) for path in folder.skipped],
        "scaled": [str(path) for path in folder.deep],
        "parameters": scorer.model.count_params(),
        "trained": count_parameters(scorer.model.trainable_weights) if history else 0,
        "backbone_batch_norms": len(backbone_norms(scorer.model)),
        "rates": _learned_rates(config),
        "start": position.get("start"),
        "epochs": history,
        "best": best,
        "val": val,
        "attention": use,
        # For a resumed run, this is the time since it was last resumed.
        "seconds": {"training": seconds, "attention_use": time.monotonic() - began},
    }


def _learned_rates(config: FineTuneConfig) -> dict[str, float]:
    """Return the peak learning rate, in the last phase, of each group that learned."""
    phases = list(config.phases())
    if not phases:
        return {}
    phase = phases[-1]
    recipe = config.recipe(phase)
    rates = {"backbone": recipe.learning_rate, **recipe.group_rates}
    learned = {"backbone": phase == WHOLE_PHASE, "attention": config.attention != "none"}
    return {group: rate for group, rate in rates.items() if learned.get(group, True)}


def write_outputs(
    model: keras.Model, folder: ImageFolder, record: dict[str, Any], output: Path
) -> None:
    """Write every file of a finished run."""
    files: dict[str, Callable[[Path], Any]] = {
        "model.keras": model.save,
        "curves.png": partial(draw_curves, record),
    }
    if record["config"]["train"] == "adapter":
        files["adapter.npz"] = partial(save_adapter, model, labels=folder.classes)
    write_results(output, record, folder.classes, files, report_text(record))


def draw_curves(record: dict[str, Any], path: Path) -> None:
    """Draw loss and accuracy by epoch, on train and on the images held out for selection.

    Epoch 0 is a logistic regression on the features of the backbone, before training.
    """
    from matplotlib.figure import Figure

    rows, start = record["epochs"], record["start"]
    epochs = range(1, len(rows) + 1)
    scored = epochs if start is None else range(len(rows) + 1)
    head = sum(row["phase"] == HEAD_PHASE for row in rows)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [row.get(name) for row in rows], "o-", label="train (augmented)")
        held_out = [row[f"selection_{name}"] for row in rows]
        if start is not None:
            held_out.insert(0, start[name])
        axes.plot(scored, held_out, "s-", label="held out")
        axes.axvline(record["best"]["epoch"], color="0.6", linestyle="--", label="kept")
        if 0 < head < len(rows):
            axes.axvspan(0.5, head + 0.5, color="0.93", zorder=0, label="backbone frozen")
        axes.set(xlabel="epoch", title=name, xlim=(scored[0] - 0.5, len(rows) + 0.5))
        axes.locator_params(axis="x", integer=True)
    axes.legend()
    figure.savefig(path, dpi=110)


def report_text(record: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    config, images, best, val = (record[k] for k in ("config", "images", "best", "val"))
    where = f" at {config['points']}" if config["points"] else ""
    told = (
        f"# {config['backbone']} with attention {config['attention']}{where}",
        "",
        f"- accuracy on val, scored once: **{val['accuracy']:.2%}** (loss {val['loss']:.4f}, "
        f"{images['val']} images)",
        _balance(val),
        f"- weights kept: {_which(best['epoch'], len(record['epochs']))}, "
        f"{best['accuracy']:.2%} of {images['selection']} images held out of train, the last "
        "within a standard error of the highest",
        _start(record),
        f"- trained on {images['train']} images of {len(record['classes'])} classes at "
        f"{config['image_size']}x{config['image_size']} pixels, seed {config['seed']}",
        f"- parameters: {record['parameters']:,}",
        f"- peak learning rates: {_rates(record) or 'none, nothing was trained'}",
        _norms(record),
        "- images with more than 8 bits per channel, each scaled by its lowest and highest value: "
        f"{len(record['scaled'])}",
        f"- images left out because they could not be decoded: {len(record['skipped'])}",
        *(f"  - {as_markdown(path)}" for path in record["skipped"]),
        "",
        "The model takes RGB pixels in 0..255; preprocessing is inside its graph.",
        "",
        "![loss and accuracy](curves.png)",
        "",
        "| epoch | phase | loss | accuracy | held-out loss | held-out accuracy |",
        "|---|---|---|---|---|---|",
    )
    lines = [line for line in told if line is not None]
    for number, row in enumerate(record["epochs"], start=1):
        lines.append(
            f"| {number} | {row['phase']} | {row['loss']:.4f} | {row['accuracy']:.2%} | "
            f"{row['selection_loss']:.4f} | {row['selection_accuracy']:.2%} |"
        )
    if record["attention"]:
        lines += ["", "## What the attention is worth", "", *use_lines(record["attention"])]
    lines += [
        "",
        "Next: `keras-cbam export model.keras --output export --calibration <folder> "
        "--verification <folder>`",
    ]
    return "\n".join(lines) + "\n"


def _which(epoch: int, epochs: int) -> str:
    return f"epoch {epoch} of {epochs}" if epoch else "the logistic regression, before any epoch"


def _rates(record: dict[str, Any]) -> str:
    rates = {group: f"{group} {rate:.2g}" for group, rate in record["rates"].items()}
    if "attention" in rates and len({row["phase"] for row in record["epochs"]}) > 1:
        rates["attention"] += f" ({BESIDE_FROZEN:g} of it while the backbone is frozen)"
    return ", ".join(rates.values())


def _norms(record: dict[str, Any]) -> str | None:
    config = record["config"]
    if config["train"] == "adapter":
        return (
            f"- trained: attention and head, {record['trained']:,} of the parameters, which "
            "`adapter.npz` holds; the backbone stayed as it was"
        )
    if not config["epochs"]:
        return None
    if not record["backbone_batch_norms"]:
        return "- the backbone has no batch normalization"
    return (
        "- batch normalization of the backbone, while the whole network learned: "
        f"{config['batch_norm']}"
    )


def _balance(val: dict[str, float]) -> str | None:
    if "balanced_accuracy" not in val:
        return None
    return (
        f"- mean of the classes' accuracies on val: {val['balanced_accuracy']:.2%}; each class "
        "counts alike in training, and in the choice of the weights kept"
    )


def _start(record: dict[str, Any]) -> str | None:
    if record["start"] is None:
        return None
    return (
        "- a logistic regression on the features of the backbone, before training: "
        f"{record['start']['accuracy']:.2%} of the images held out"
    )
