"""The configuration of a fine-tuning run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keras_cbam.training.image_batches import AUGMENTATIONS
from keras_cbam.training.recipe import Recipe


@dataclass(frozen=True)
class FineTuneConfig:
    """A fine-tuning run, in full: the same configuration gives the same run.

    Attributes:
        data: a folder with `train/` and `val/`, or of class folders with `val_split` stated.
        output: directory of the results.
        backbone: name of a `keras.applications` builder.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name that `attach_attention` knows, or `"none"`.
        image_size: side of the square images, in pixels.
        batch_size: images a step.
        head_epochs: epochs with all but the head frozen; `None` means 2, or 0 without weights.
        epochs: epochs of the whole network, attention included. Batch normalization that
            came with weights keeps its statistics, since small batches would spoil them.
        head_learning_rate: peak rate of the head alone, of Adam with cosine decay.
        learning_rate: peak rate of the whole network, likewise.
        dropout: share of the pooled features dropped in training.
        batch_norm_momentum: momentum of the backbone's batch normalization, for training without
            weights; `None` keeps its own, such as MobileNetV2's 0.999, which takes thousands of
            steps to settle.
        selection_split: share of train held out, by whose accuracy the best weights are chosen.
        val_split: share of one folder of classes set apart and scored once at the end.
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
    image_size: int = 224
    batch_size: int = 32
    head_epochs: int | None = None
    epochs: int = 5
    head_learning_rate: float = 1e-3
    learning_rate: float = 1e-4
    dropout: float = 0.2
    batch_norm_momentum: float | None = None
    selection_split: float = 0.1
    val_split: float | None = None
    augmentations: tuple[str, ...] = tuple(AUGMENTATIONS)
    crop_area: float = 0.5
    seed: int = 0
    backbone_options: dict[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    dtype_policy: str = "float32"
    checkpoint_seconds: float = 30.0

    def phases(self) -> tuple[Phase, ...]:
        """The phases of the run, those without epochs left out."""
        head_epochs = self.head_epochs
        if head_epochs is None:
            head_epochs = 0 if self.weights == "none" else 2
        phases = (
            Phase("head", head_epochs, self.recipe(self.head_learning_rate)),
            Phase("whole", self.epochs, self.recipe(self.learning_rate)),
        )
        return tuple(phase for phase in phases if phase.epochs > 0)

    def recipe(self, learning_rate: float) -> Recipe:
        """How the network is trained at that peak rate."""
        return Recipe(
            optimizer="adam",
            learning_rate=learning_rate,
            label_smoothing=self.label_smoothing,
            clip_norm=self.clip_norm,
            ema=self.ema,
            dtype_policy=self.dtype_policy,
        )


class Phase(NamedTuple):
    """Consecutive epochs with one optimizer."""

    name: str
    epochs: int
    recipe: Recipe
