"""A fine-tuning run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from keras_cbam.config.fine_tune_defaults import (
    ADAPTER,
    ADAPTER_STEPS,
    BESIDE_FROZEN,
    BUDGETS,
    FRESH,
    LEAST_EPOCHS,
    MOST_EPOCHS,
    NORM_FROZEN,
    NORM_TRAINS,
    SHORT_MOMENTUM,
    epochs_of,
    fits,
    usual,
)
from keras_cbam.config.forms import NAMES, PATH
from keras_cbam.config.names import AUGMENTATIONS, NAMED_POINTS
from keras_cbam.config.option import documented, option, with_default
from keras_cbam.config.recipe import Recipe
from keras_cbam.config.training import IMAGES, NETWORK, TRAINING, TrainingConfig

BATCH_NORMS = ("train", "recalibrate", "frozen")
# The phases: the first and the last leave the backbone as it is, the second trains everything.
HEAD_PHASE, WHOLE_PHASE, ADAPTER_PHASE = "head", "whole", "adapter"
# What a run trains.
TRAINS = ("whole", "adapter")


@documented
@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(TrainingConfig):
    """A fine-tuning run, in full: the same configuration gives the same run."""

    data: str = option(
        "Folder with train/ and val/, or of class folders, of which `val_split` sets a part apart.",
        argument=True,
        form=PATH,
    )
    points: str | None = option(
        f"Where attention goes: {' or '.join(NAMED_POINTS)}; by default to every attention point, "
        "BAM to the stage ends. The last stage has no stage end.",
        default=None,
        panel=NETWORK,
    )
    train: str = option(
        f"{TRAINS[0]}: head and attention first, then the whole network. {TRAINS[1]}: head and "
        "attention alone, beside a backbone that stays as it is; a small file adapter.npz holds "
        "them then.",
        default="whole",
        panel=TRAINING,
    )
    image_size: int = option("Side of the images, in pixels.", default=224, least=1, panel=IMAGES)
    batch_size: int = with_default(TrainingConfig, "batch_size", 32)
    head_epochs: int | None = option(
        "Epochs of head and attention before the whole network learns; by default as many as "
        f"{BUDGETS[True].head_steps} steps need, at most {MOST_EPOCHS}, and without weights none.",
        default=None,
        least=0,
        panel=TRAINING,
    )
    epochs: int | None = option(
        f"Epochs of the whole network; by default as many as {BUDGETS[True].steps} steps need, "
        f"without weights {BUDGETS[False].steps}. Or of the adapter; as many as {ADAPTER_STEPS} "
        f"steps need. At least {LEAST_EPOCHS} and at most {MOST_EPOCHS}.",
        default=None,
        least=0,
        panel=TRAINING,
    )
    learning_rate: float | None = option(
        f"Peak learning rate of the backbone, of Adam with cosine decay; {usual('learning_rate')}.",
        default=None,
        panel=TRAINING,
    )
    attention_learning_rate: float | None = option(
        f"Peak learning rate of attention; {usual('attention_learning_rate')}. Before the whole "
        f"network learns it is {BESIDE_FROZEN:g} of that. The first kernels of channel gates learn "
        "at a tenth of the rate.",
        default=None,
        panel=TRAINING,
    )
    head_learning_rate: float | None = option(
        f"Peak learning rate of the head; {usual('head_learning_rate')}.",
        default=None,
        panel=TRAINING,
    )
    warmup: float = with_default(TrainingConfig, "warmup", 0.1)
    dropout: float = option(
        "Share of the pooled features dropped in training.",
        default=0.2,
        least=0,
        most=0.99,
        panel=NETWORK,
    )
    batch_norm: str | None = option(
        "What the backbone's batch normalization does while the whole network learns. train: it "
        "normalizes by the batch, keeps moving averages, and learns. recalibrate: the same, but at "
        "the start and before each scoring the averages are replaced by those over 320 training "
        "images, rounded to whole batches. frozen: it keeps what the weights came with. By default "
        "frozen where the backbone's features fit the images as they are and neither "
        "`learning_rate` nor `batch_norm_momentum` is given, otherwise train.",
        default=None,
        panel=TRAINING,
    )
    batch_norm_momentum: float | None = option(
        "Momentum of all batch normalization, the attention's too; by default "
        f"{SHORT_MOMENTUM}, or less where the network's is less, since a larger one takes more "
        "steps to settle than a run has.",
        default=None,
        panel=TRAINING,
    )
    selection_split: float = option(
        "Share of train held out to choose the epoch by: the last whose accuracy there is within a "
        "standard error of the highest.",
        default=0.1,
        panel=IMAGES,
    )
    balance: bool = option(
        "Let each class count alike, however many images it has: in the loss, in the logistic "
        "regression that a run starts with, and in the scores by which an epoch is chosen.",
        default=False,
        panel=TRAINING,
    )
    augmentations: tuple[str, ...] = option(
        f"How images are varied in training, of {', '.join(AUGMENTATIONS)}.",
        default=AUGMENTATIONS,
        form=NAMES,
        flag="--augment",
        panel=IMAGES,
    )
    crop_area: float = option(
        "Smallest share of an image that a random crop keeps, in (0, 1].", default=0.5, panel=IMAGES
    )
    label_smoothing: float = option(
        "Share of the target that is spread over all classes, in [0, 1).",
        default=0.0,
        panel=TRAINING,
    )
    clip_norm: float | None = with_default(TrainingConfig, "clip_norm", 1.0)

    def settled(self, batches: int) -> FineTuneConfig:
        """The same run with numbers of epochs in place of `None`.

        Args:
            batches: of an epoch.
        """
        if self.train == "adapter":
            return self._filled(
                head_epochs=0, epochs=epochs_of(ADAPTER_STEPS, batches, LEAST_EPOCHS)
            )
        budget = BUDGETS[self.weights != "none"]
        return self._filled(
            head_epochs=epochs_of(budget.head_steps, batches),
            epochs=epochs_of(budget.steps, batches, LEAST_EPOCHS),
        )

    def rated(
        self, error: float | None, images: int, classes: int, norms: bool = True
    ) -> FineTuneConfig:
        """The settled run with batch normalization and rates in place of `None`.

        Args:
            error: share of the images held out that a logistic regression on the features of the
                backbone tells wrong; `None` for a backbone without weights.
            images: how many images are held out.
            classes: how many classes there are.
            norms: whether the backbone has batch normalization.
        """
        if self.train == "adapter":
            return self._filled(**asdict(ADAPTER))
        free = self.learning_rate is None and self.batch_norm_momentum is None
        near = free and error is not None and fits(error, images, classes)
        decides = self.epochs and norms
        run = self._filled(batch_norm="frozen" if near else "train") if decides else self
        rates = NORM_TRAINS
        if self.epochs and (run.batch_norm == "frozen" or not norms):
            rates = NORM_FROZEN
        if self.weights == "none":
            rates = FRESH
        return run._filled(**asdict(rates))

    def _filled(self, **found: Any) -> FineTuneConfig:
        """The same run with what was found in place of `None`."""
        missing = {name: value for name, value in found.items() if getattr(self, name) is None}
        return replace(self, **missing)

    def phases(self) -> tuple[Phase, ...]:
        """The phases of a settled run, those without epochs left out."""
        last = ADAPTER_PHASE if self.train == "adapter" else WHOLE_PHASE
        phases = (Phase(HEAD_PHASE, self.head_epochs or 0), Phase(last, self.epochs or 0))
        return tuple(phase for phase in phases if phase.epochs > 0)

    def recipe(self, phase: str = WHOLE_PHASE) -> Recipe:
        """How a rated run trains its weights in a phase."""
        share = BESIDE_FROZEN if phase == HEAD_PHASE else 1.0
        # A rate that is not known yet is 0, which the recipe's check refuses.
        return Recipe(
            optimizer="adam",
            learning_rate=self.learning_rate or 0.0,
            group_rates={
                "attention": share * (self.attention_learning_rate or 0.0),
                "head": self.head_learning_rate or 0.0,
            },
            warmup=self.warmup,
            label_smoothing=self.label_smoothing,
            clip_norm=self.clip_norm,
            ema=self.ema,
            dtype_policy=self.dtype_policy,
        )


class Phase(NamedTuple):
    """Consecutive epochs with one optimizer."""

    name: str
    epochs: int
