"""The paper's networks, with or without attention, with the arguments of `keras.applications`."""

from keras_cbam.models.networks import (
    MobileNet,
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
    ResNeXt50,
    ResNeXt101,
    WideResNet18,
)

__all__ = [
    "MobileNet",
    "ResNeXt50",
    "ResNeXt101",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "ResNet101",
    "WideResNet18",
]
