"""The pixel values that networks expect: the rules of `keras.applications`, and so the paper's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_cbam.errors import InputError


class PixelRule(NamedTuple):
    """How a family scales RGB pixels in 0..255 before its first layer: `pixels * scale + offset`.

    Attributes:
        scale: one factor per channel, red first.
        offset: one offset per channel, red first.
        reverse_channels: whether published weights expect blue first.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    reverse_channels: bool = False


# Mean and standard deviation of ImageNet's pixels in 0..1, red first.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The rule of PyTorch's networks, including the paper's.
TORCH = PixelRule(
    tuple(1 / 255 / s for s in IMAGENET_STD),
    tuple(-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
)

PIXEL_RULES: dict[str, PixelRule | None] = {
    "inside": None,
    "tf": PixelRule((1 / 127.5,) * 3, (-1.0,) * 3),
    "torch": TORCH,
    "caffe": PixelRule((1.0,) * 3, (-123.68, -116.779, -103.939), reverse_channels=True),
}

# The rule of each family. The longest key that is a prefix of the builder's name decides.
FAMILIES = {
    "ConvNeXt": "inside",
    "DenseNet": "torch",
    "EfficientNet": "inside",
    "Inception": "tf",
    "MobileNet": "tf",
    "MobileNetV3": "inside",
    "NASNet": "tf",
    "ResNet": "caffe",
    "ResNet50V2": "tf",
    "ResNet101V2": "tf",
    "ResNet152V2": "tf",
    "VGG": "caffe",
    "Xception": "tf",
}


def named_rule(preprocessing: str) -> PixelRule | None:
    """Return the rule of a builder of `keras.applications`, or of a key of `PIXEL_RULES`.

    It is `None` for a network whose graph scales pixels itself.
    """
    if preprocessing in PIXEL_RULES:
        return PIXEL_RULES[preprocessing]
    family = max((f for f in FAMILIES if preprocessing.startswith(f)), key=len, default=None)
    if family is None:
        raise InputError(
            f"The pixel range of backbone {preprocessing} is not known. Expected a builder of "
            f"keras.applications, or one of {', '.join(PIXEL_RULES)}."
        )
    return PIXEL_RULES[FAMILIES[family]]


def preprocessed(pixels: np.ndarray, preprocessing: str) -> np.ndarray:
    """Return RGB pixels in 0..255, scaled as a network expects them.

    Args:
        pixels: `(images, height, width, 3)`.
        preprocessing: name of a builder of `keras.applications`, or a key of `PIXEL_RULES`.
    """
    rule = named_rule(preprocessing)
    if rule is None:
        return pixels
    values = pixels * np.asarray(rule.scale, "float32") + np.asarray(rule.offset, "float32")
    return values[..., ::-1] if rule.reverse_channels else values
