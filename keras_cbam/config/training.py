"""Options that all training runs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_cbam.config.forms import ARGUMENTS, NAMES, NUMBER_OR_NONE, PATH
from keras_cbam.config.names import ATTENTIONS
from keras_cbam.config.option import image_option, network_option, option, training_option
from keras_cbam.config.recipe import POLICIES, Recipe


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Configuration of a training run with a backbone of `keras.applications`."""

    data: str = option("Folder of the images.", argument=True, form=PATH)
    output: str = option("Directory of the results.", form=PATH)
    val_split: float | None = image_option(
        "Share of the images to split off as val, in (0, 1), if `data` has no such split.",
        default=None,
    )
    backbone: str = network_option(
        "Name of a builder of keras.applications.", default="MobileNetV2"
    )
    backbone_options: dict[str, Any] = network_option(
        "Further arguments of the builder.", default={}, form=ARGUMENTS, flag="--backbone-option"
    )
    weights: str = network_option(
        "imagenet, none, or the path of a weights file.", default="imagenet"
    )
    attention: str = network_option(f"One of {', '.join(ATTENTIONS)}; or none.", default="cbam")
    batch_size: int = training_option("Images per step.", least=1)
    warmup: float = training_option(
        "Share of the steps in which the learning rates rise from 0, in [0, 1)."
    )
    clip_norm: float | None = training_option(
        "Upper bound of the norm of all gradients together.", least=0, form=NUMBER_OR_NONE
    )
    ema: float | None = training_option(
        "Momentum of a moving average of the weights. The average is scored and saved; by default "
        "there is none.",
        default=None,
    )
    augmentations: tuple[str, ...] = image_option(
        "Augmentations of the training images.", form=NAMES, flag="--augment"
    )
    seed: int = option("Seed of all random numbers.", default=0, least=0)
    dtype_policy: str = training_option(f"One of {', '.join(POLICIES)}.", default="float32")
    checkpoint_seconds: float = option(
        "Seconds between two saves of the state that an interrupted run resumes from.", default=30.0
    )

    def adam(self, rate: float, **group_rates: float) -> Recipe:
        """Return the recipe of a run with Adam, from its learning rates."""
        return Recipe(
            optimizer="adam",
            learning_rate=rate,
            group_rates=group_rates,
            warmup=self.warmup,
            clip_norm=self.clip_norm,
            ema=self.ema,
            dtype_policy=self.dtype_policy,
        )
