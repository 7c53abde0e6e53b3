"""Options that all training runs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras_cbam.config.forms import ARGUMENTS, NAMES, NUMBER_OR_NONE, PATH
from keras_cbam.config.names import ATTENTIONS
from keras_cbam.config.option import option
from keras_cbam.config.recipe import POLICIES

# Headings of the options in the help.
IMAGES, NETWORK, TRAINING = "Images", "Network", "Training"


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Configuration of a training run with a backbone of `keras.applications`."""

    data: str = option("Folder of the images.", argument=True, form=PATH)
    output: str = option("Directory of the results.", form=PATH)
    val_split: float | None = option(
        "Share of the images to split off as val, in (0, 1), if `data` has no such split.",
        default=None,
        panel=IMAGES,
    )
    backbone: str = option(
        "Name of a builder of keras.applications.", default="MobileNetV2", panel=NETWORK
    )
    backbone_options: dict[str, Any] = option(
        "Further arguments of the builder.",
        default={},
        form=ARGUMENTS,
        flag="--backbone-option",
        panel=NETWORK,
    )
    weights: str = option(
        "imagenet, none, or the path of a weights file.", default="imagenet", panel=NETWORK
    )
    attention: str = option(
        f"One of {', '.join(ATTENTIONS)}; or none.", default="cbam", panel=NETWORK
    )
    batch_size: int = option("Images per step.", least=1, panel=TRAINING)
    warmup: float = option(
        "Share of the steps in which the learning rates rise from 0, in [0, 1).",
        panel=TRAINING,
    )
    clip_norm: float | None = option(
        "Upper bound of the norm of all gradients together.",
        least=0,
        form=NUMBER_OR_NONE,
        panel=TRAINING,
    )
    ema: float | None = option(
        "Momentum of a moving average of the weights. The average is scored and saved; by default "
        "there is none.",
        default=None,
        panel=TRAINING,
    )
    augmentations: tuple[str, ...] = option(
        "Augmentations of the training images.", form=NAMES, flag="--augment", panel=IMAGES
    )
    seed: int = option("Seed of all random numbers.", default=0, least=0)
    dtype_policy: str = option(f"One of {', '.join(POLICIES)}.", default="float32", panel=TRAINING)
    checkpoint_seconds: float = option(
        "Seconds between two saves of the state that an interrupted run resumes from.", default=30.0
    )
