"""The configuration of a training run of a detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from keras_cbam.detection.augmentation import AUGMENTATIONS
from keras_cbam.training.recipe import Recipe

# The default rate of the attention, as a multiple of the rate of the rest.
ATTENTION_SHARE = 3.0


@dataclass(frozen=True)
class DetectionConfig:
    """A training run of a detector, in full: the same configuration gives the same run.

    Attributes:
        data: a folder that `read_detection_folder` reads, with the splits train and val.
        output: directory of the results.
        val_split: share of the images set apart as val, in (0, 1), where data has no such split;
            `None` where it has.
        backbone: name of a `keras.applications` builder.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name that `attach_attention` knows, or `"none"`.
        image_size: height and width of the input, in pixels, multiples of 32; images are scaled as
            a whole to fit.
        batch_size: images a step.
        epochs: epochs of the whole detector. Batch normalization that came with weights keeps its
            statistics, since small batches would spoil them.
        learning_rate: peak rate, of Adam with cosine decay.
        attention_learning_rate: peak rate of the attention layers; `None` for three times
            `learning_rate`. At the rate of the rest their gates would stay near where they start.
        warmup: share of the steps in which the rate rises from 0, in [0, 1).
        clip_norm: the norm that the gradient of all weights is scaled down to; `None` for none.
        ema: momentum of a moving average of the weights, which is scored and kept; `None` for none.
        anchor_size: side of the smallest anchor at each level, in steps of that level; `None` for
            the one that fits the most boxes of train.
        head_layers: convolutions in each head before its last; they dominate the cost.
        augmentations: names out of `AUGMENTATIONS`.
        seed: seed of weights, order and augmentation.
        backbone_options: further arguments of the builder.
        dtype_policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        checkpoint_seconds: time between two saves of the state that `resume` goes on from.
    """

    data: str
    output: str
    val_split: float | None = None
    backbone: str = "MobileNetV2"
    weights: str = "imagenet"
    attention: str = "cbam"
    image_size: tuple[int, int] = (320, 320)
    batch_size: int = 4
    epochs: int = 12
    learning_rate: float = 5e-4
    attention_learning_rate: float | None = None
    warmup: float = 0.05
    clip_norm: float | None = 10.0
    ema: float | None = None
    anchor_size: float | None = None
    head_layers: int = 4
    augmentations: tuple[str, ...] = tuple(AUGMENTATIONS)
    seed: int = 0
    backbone_options: dict[str, Any] = field(default_factory=dict)
    dtype_policy: str = "float32"
    checkpoint_seconds: float = 30.0

    @property
    def recipe(self) -> Recipe:
        """How the detector is trained."""
        attention = self.attention_learning_rate
        if attention is None:
            attention = ATTENTION_SHARE * self.learning_rate
        return Recipe(
            optimizer="adam",
            learning_rate=self.learning_rate,
            group_rates={"attention": attention},
            warmup=self.warmup,
            clip_norm=self.clip_norm,
            ema=self.ema,
            dtype_policy=self.dtype_policy,
        )
