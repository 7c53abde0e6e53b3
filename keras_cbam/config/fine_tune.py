"""Configuration of a fine-tuning run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from keras_cbam.config import fine_tune_defaults as defaults
from keras_cbam.config.forms import NAMES, PATH
from keras_cbam.config.names import AUGMENTATIONS, NAMED_POINTS
from keras_cbam.config.option import (
    documented,
    image_option,
    network_option,
    option,
    training_option,
    with_default,
)
from keras_cbam.config.recipe import Recipe
from keras_cbam.config.training import TrainingConfig

BATCH_NORMS = ("train", "recalibrate", "frozen")
# The phases. The first and the last keep the backbone frozen; the second trains all weights.
HEAD_PHASE, WHOLE_PHASE, ADAPTER_PHASE = "head", "whole", "adapter"
# The parts of the network that a run can train.
TRAINS = ("whole", "adapter")


@documented
@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(TrainingConfig):
    """Complete configuration of a fine-tuning run: the same one gives the same run."""

    data: str = option(
        "Folder with train/ and val/, or a folder of class folders, which `val_split` splits.",
        argument=True,
        form=PATH,
    )
    points: str | None = network_option(
        f"Points of the attention: {' or '.join(NAMED_POINTS)}; by default all attention points, "
        "and for BAM the stage ends. The last stage has no stage end.",
        default=None,
    )
    train: str = training_option(
        f"{TRAINS[0]}: train head and attention first, then the whole network. {TRAINS[1]}: train "
        "head and attention only, on a frozen backbone, and save them in a small file adapter.npz.",
        default="whole",
    )
    image_size: int = image_option("Side of the images, in pixels.", default=224, least=1)
    batch_size: int = with_default(TrainingConfig, "batch_size", 32)
    head_epochs: int | None = training_option(
        "Epochs of head and attention before the whole network learns; by default enough for "
        f"{defaults.BUDGETS[True].head_steps} steps, at most {defaults.MOST_EPOCHS}, and without "
        "weights none.",
        default=None,
        least=0,
    )
    epochs: int | None = training_option(
        "Epochs of the whole network, or of the adapter. By default enough for "
        f"{defaults.BUDGETS[True].steps} steps ({defaults.BUDGETS[False].steps} without weights, "
        f"{defaults.ADAPTER_STEPS} for an adapter), but at least {defaults.LEAST_EPOCHS} and at "
        f"most {defaults.MOST_EPOCHS}.",
        default=None,
        least=0,
    )
    learning_rate: float | None = training_option(
        "Peak learning rate of the backbone, for Adam with cosine decay; "
        f"{defaults.usual('learning_rate')}.",
        default=None,
    )
    attention_learning_rate: float | None = training_option(
        f"Peak learning rate of attention; {defaults.usual('attention_learning_rate')}. Before the "
        f"whole network learns, it is {defaults.BESIDE_FROZEN:g} times that rate. The first "
        "kernels of channel gates learn at a tenth of the rate.",
        default=None,
    )
    head_learning_rate: float | None = training_option(
        f"Peak learning rate of the head; {defaults.usual('head_learning_rate')}.", default=None
    )
    warmup: float = with_default(TrainingConfig, "warmup", 0.1)
    dropout: float = network_option(
        "Share of the pooled features dropped in training.", default=0.2, least=0, most=0.99
    )
    batch_norm: str | None = training_option(
        "Mode of the backbone's batch normalization while the whole network learns. train: "
        "normalize by the batch, update the moving averages, and learn. recalibrate: the same, but "
        "at the start and before each scoring replace the averages by those over 320 training "
        "images, rounded to whole batches. frozen: keep the pretrained values. The default is "
        "frozen if the pretrained features fit the images and neither `learning_rate` nor "
        "`batch_norm_momentum` is given, otherwise train.",
        default=None,
    )
    batch_norm_momentum: float | None = training_option(
        "Momentum of all batch normalization, including that of the attention; by default "
        f"{defaults.SHORT_MOMENTUM}, or the network's own if it is smaller, since a larger "
        "momentum takes more steps to settle than a run has.",
        default=None,
    )
    selection_split: float = image_option(
        "Share of train held out to choose the epoch: the last one whose accuracy on the held-out "
        "images is within a standard error of the highest.",
        default=0.1,
    )
    balance: bool = training_option(
        "Give all classes the same weight, regardless of their numbers of images: in the loss, in "
        "the logistic regression at the start of a run, and in the scores that choose the epoch.",
        default=False,
    )
    augmentations: tuple[str, ...] = image_option(
        f"Augmentations of the training images: {', '.join(AUGMENTATIONS)}.",
        default=AUGMENTATIONS,
        form=NAMES,
        flag="--augment",
    )
    crop_area: float = image_option(
        "Smallest share of an image that a random crop keeps, in (0, 1].", default=0.5
    )
    label_smoothing: float = training_option(
        "Share of the target that is spread over all classes, in [0, 1).", default=0.0
    )
    clip_norm: float | None = with_default(TrainingConfig, "clip_norm", 1.0)

    def settled(self, batches: int) -> FineTuneConfig:
        """Return the run with numbers of epochs in place of `None`.

        Args:
            batches: number of batches per epoch.
        """
        budget = defaults.BUDGETS[self.weights != "none"]
        if self.train == "adapter":
            budget = defaults.Budget(head_steps=0, steps=defaults.ADAPTER_STEPS)
        return self._filled(
            head_epochs=defaults.epochs_of(budget.head_steps, batches),
            epochs=defaults.epochs_of(budget.steps, batches, defaults.LEAST_EPOCHS),
        )

    def rated(
        self, error: float | None, images: int, classes: int, norms: bool = True
    ) -> FineTuneConfig:
        """Return the settled run with batch normalization and rates in place of `None`.

        Args:
            error: error of a logistic regression on the features of the backbone, as a share of the
                held-out images; `None` for a backbone without weights.
            images: number of held-out images.
            classes: number of classes.
            norms: whether the backbone has batch normalization.
        """
        if self.train == "adapter":
            return self._filled(**defaults.ADAPTER._asdict())
        free = self.learning_rate is None and self.batch_norm_momentum is None
        near = free and error is not None and defaults.fits(error, images, classes)
        decides = self.epochs and norms
        run = self._filled(batch_norm="frozen" if near else "train") if decides else self
        rates = defaults.NORM_TRAINS
        if self.epochs and (run.batch_norm == "frozen" or not norms):
            rates = defaults.NORM_FROZEN
        if self.weights == "none":
            rates = defaults.FRESH
        return run._filled(**rates._asdict())

    def _filled(self, **found: Any) -> FineTuneConfig:
        """Return the run with the given values in place of `None`."""
        missing = {name: value for name, value in found.items() if getattr(self, name) is None}
        return replace(self, **missing)

    def phases(self) -> dict[str, int]:
        """Return the number of epochs of each phase of a settled run that has any."""
        last = ADAPTER_PHASE if self.train == "adapter" else WHOLE_PHASE
        phases = {HEAD_PHASE: self.head_epochs or 0, last: self.epochs or 0}
        return {phase: epochs for phase, epochs in phases.items() if epochs > 0}

    def recipe(self, phase: str = WHOLE_PHASE) -> Recipe:
        """Return the training recipe of a rated run for a phase."""
        share = defaults.BESIDE_FROZEN if phase == HEAD_PHASE else 1.0
        # A rate that is not known yet becomes 0, which the recipe's check refuses.
        recipe = self.adam(
            self.learning_rate or 0.0,
            attention=share * (self.attention_learning_rate or 0.0),
            head=self.head_learning_rate or 0.0,
        )
        return replace(recipe, label_smoothing=self.label_smoothing)
