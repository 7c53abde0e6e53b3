"""The record of a finished run, as `history.json` holds it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from keras_cbam.config.fine_tune import WHOLE_PHASE, FineTuneConfig
from keras_cbam.surgery.summary import count_parameters
from keras_cbam.training.image_folder import ImageFolder
from keras_cbam.training.measure_use import measure_use
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
        "rates": _rates(config),
        "start": position.get("start"),
        "epochs": history,
        "best": best,
        "val": val,
        "attention": use,
        # For a resumed run, this is the time since it was last resumed.
        "seconds": {"training": seconds, "attention_use": time.monotonic() - began},
    }


def _rates(config: FineTuneConfig) -> dict[str, float]:
    """Return the peak learning rate, in the last phase, of each group that learned."""
    if not config.phases():
        return {}
    *_, phase = config.phases()
    recipe = config.recipe(phase)
    rates = {"backbone": recipe.learning_rate, **recipe.group_rates}
    learned = {"backbone": phase == WHOLE_PHASE, "attention": config.attention != "none"}
    return {group: rate for group, rate in rates.items() if learned.get(group, True)}
