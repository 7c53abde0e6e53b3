"""The configuration of a fine-tuning run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from keras_cbam.training.fine_tune_defaults import (
    ADAPTER,
    ADAPTER_STEPS,
    BESIDE_FROZEN,
    BUDGETS,
    FRESH,
    LEAST_EPOCHS,
    NORM_FROZEN,
    NORM_TRAINS,
    epochs_of,
    fits,
)
from keras_cbam.training.image_batches import AUGMENTATIONS
from keras_cbam.training.recipe import Recipe

BATCH_NORMS = ("train", "recalibrate", "frozen")
# The phases: the first and the last leave the backbone as it is, the second trains everything.
HEAD_PHASE, WHOLE_PHASE, ADAPTER_PHASE = "head", "whole", "adapter"
# What a run trains.
TRAINS = ("whole", "adapter")


@dataclass(frozen=True)
class FineTuneConfig:
    """A fine-tuning run, in full: the same configuration gives the same run.

    Attributes:
        data: a folder with `train/` and `val/`, or of class folders with `val_split` stated.
        output: directory of the results.
        backbone: name of a `keras.applications` builder.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name that `attach_attention` knows, or `"none"`.
        points: where it goes: `"stage_ends"`, the end of each stage but the last, `"last_stage"`,
            or `None` for all attention points, for BAM the stage ends.
        train: `"whole"`, head and attention first, then the whole network; or `"adapter"`, head and
            attention alone, beside a backbone that stays as it is.
        image_size: side of the square images, in pixels.
        batch_size: images a step.
        head_epochs: epochs of head and attention before the whole network learns; `None` for the
            budget of `fine_tune_defaults`, in steps, at most 100 epochs.
        epochs: epochs of the whole network, or of the adapter; `None` for the budget, likewise.
        learning_rate: peak rate of the backbone, of Adam with cosine decay. `None` for the default
            of the table there, which is lower where batch normalization is frozen or missing.
        attention_learning_rate: peak rate of the attention layers. In the first phase of a run that
            trains the whole network they learn at a tenth of it. The first kernels of channel gates
            learn at a tenth of the phase's rate. `None` for the default of the table, likewise.
        head_learning_rate: peak rate of the head, the same in both phases; `None` for the default
            of the table.
        warmup: share of the steps of each phase in which rates rise from 0, in [0, 1).
        dropout: share of the pooled features dropped in training.
        batch_norm: what the backbone's batch normalization does. In the first phase it keeps its
            averages and weights. `"train"`: in the second phase it normalizes by the batch, keeps
            moving averages, and learns, since gates and a trained backbone change what the
            published averages were made for. `"recalibrate"`: the same, but at the start and before
            each scoring of the second phase the averages are replaced by those over 320 training
            images, rounded to whole batches. `"frozen"`: it keeps what the weights came with.
            `None`: `"frozen"` where the features of the backbone fit the images, by `fits` in
            `fine_tune_defaults`, unless `learning_rate` or `batch_norm_momentum` is stated;
            otherwise `"train"`. It has no effect in a backbone without batch normalization.
        batch_norm_momentum: momentum of all batch normalization, the attention's too; `None` for
            the smaller of 0.9 and its own, since 0.99 and MobileNetV2's 0.999 take more steps to
            settle than a run has.
        selection_split: share of train held out. The run keeps the weights of the last epoch whose
            accuracy there is within a standard error of the highest.
        val_split: share of one folder of classes set apart and scored once at the end.
        balance: whether each class counts alike, however many images it has: in the loss, in the
            logistic regression, and in the scores that an epoch is chosen by.
        augmentations: names out of `AUGMENTATIONS`.
        crop_area: smallest share of an image that the augmentation `crop` keeps, in (0, 1].
        seed: seed of splits, weights, order, augmentation and dropout.
        backbone_options: further arguments of the builder.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        clip_norm: the norm that the gradient of all weights is scaled down to; `None` for none.
        ema: momentum of a moving average of the weights, which is scored and kept; `None` for none.
        dtype_policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        checkpoint_seconds: time between two saves of the state that `resume` goes on from.
    """

    data: str
    output: str
    backbone: str = "MobileNetV2"
    weights: str = "imagenet"
    attention: str = "cbam"
    points: str | None = None
    train: str = "whole"
    image_size: int = 224
    batch_size: int = 32
    head_epochs: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    attention_learning_rate: float | None = None
    head_learning_rate: float | None = None
    warmup: float = 0.1
    dropout: float = 0.2
    batch_norm: str | None = None
    batch_norm_momentum: float | None = None
    selection_split: float = 0.1
    val_split: float | None = None
    balance: bool = False
    augmentations: tuple[str, ...] = tuple(AUGMENTATIONS)
    crop_area: float = 0.5
    seed: int = 0
    backbone_options: dict[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0
    clip_norm: float | None = 1.0
    ema: float | None = None
    dtype_policy: str = "float32"
    checkpoint_seconds: float = 30.0

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
