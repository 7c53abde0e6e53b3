"""Configuration of a training run of a detector."""

from __future__ import annotations

from dataclasses import dataclass

from keras_cbam.config.forms import NAMES, PATH, SIZE
from keras_cbam.config.names import BOX_AUGMENTATIONS
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

# Default learning rate of the attention, as a multiple of the rate of all other weights.
ATTENTION_SHARE = 3.0


@documented
@dataclass(frozen=True, kw_only=True)
class DetectionConfig(TrainingConfig):
    """Complete configuration of a detector's training run: the same one gives the same run.

    Pretrained batch normalization keeps its statistics, since small batches would spoil them.
    """

    data: str = option("Folder of photographs with boxes, VOC or COCO.", argument=True, form=PATH)
    image_size: tuple[int, int] = image_option(
        "Height and width of the input, in pixels, multiples of 32. Images are scaled to fit as a "
        "whole.",
        default=(320, 320),
        form=SIZE,
    )
    batch_size: int = with_default(TrainingConfig, "batch_size", 4)
    epochs: int = training_option("Epochs of the whole detector.", default=12, least=1)
    learning_rate: float = training_option(
        "Peak learning rate of Adam with cosine decay.", default=5e-4
    )
    attention_learning_rate: float | None = training_option(
        f"Peak learning rate of attention; by default {ATTENTION_SHARE:g} times `learning_rate`, "
        "so that the gates move away from their start.",
        default=None,
    )
    warmup: float = with_default(TrainingConfig, "warmup", 0.05)
    clip_norm: float | None = with_default(TrainingConfig, "clip_norm", 10.0)
    anchor_size: float | None = network_option(
        "Side of the smallest anchor at each level, in strides of that level; by default the side "
        "that fits the most training boxes.",
        default=None,
    )
    head_layers: int = network_option(
        "Convolutions in each head before the last one. They dominate the cost.", default=4, least=0
    )
    augmentations: tuple[str, ...] = image_option(
        f"Augmentations of the training images: {', '.join(BOX_AUGMENTATIONS)}.",
        default=BOX_AUGMENTATIONS,
        form=NAMES,
        flag="--augment",
    )

    @property
    def recipe(self) -> Recipe:
        """The training recipe of the detector."""
        attention = self.attention_learning_rate
        if attention is None:
            attention = ATTENTION_SHARE * self.learning_rate
        return self.adam(self.learning_rate, attention=attention)
