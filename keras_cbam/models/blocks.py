"""The two blocks of the networks, residual and separable, and their convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.models import initializers
from keras_cbam.models.description import Network, Unit

# PyTorch's defaults in Keras's convention.
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}
PARTS = ("depthwise", "pointwise")

# Refines a layer's output. It receives the feature map, the layer's name and its block's address.
Refine = Callable[[Any, str, str], Any]
# Builds a block, and returns its output and the name of its last layer.
Block = Callable[[Any, Network, int, int, str, Refine], tuple[Any, str]]


def channel_axis() -> int:
    """Return the channel axis in Keras's default data format."""
    return -1 if keras.config.image_data_format() == "channels_last" else 1


def residual_block(
    x: Any, network: Network, filters: int, strides: int, address: str, refine: Refine
) -> tuple[Any, str]:
    """Add the refined output of the block's convolutions to `x`, or to a projection of `x`."""
    shortcut = x
    for index, unit in enumerate(network.block, 1):
        if index > 1:
            x = keras.layers.ReLU(name=f"{address}_relu{index - 1}")(x)
        x = convolve(x, unit, filters, strides, address, str(index))
    x = refine(x, f"{address}_bn{len(network.block)}", address)
    if strides > 1 or shortcut.shape[channel_axis()] != x.shape[channel_axis()]:
        shortcut = convolve(
            shortcut,
            network.projection,
            filters,
            strides,
            f"{address}_shortcut",
            initializer=initializers.default,
        )
    x = keras.layers.Add(name=f"{address}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{address}_out")(x), f"{address}_out"


def separable_block(
    x: Any, network: Network, filters: int, strides: int, address: str, refine: Refine
) -> tuple[Any, str]:
    """Convolve depthwise, then pointwise. Normalize, activate and refine after each."""
    for unit, part in zip(network.block, PARTS, strict=True):
        name = f"{address}_{part}"
        x = convolve(x, unit, filters, strides, name)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        x = refine(x, f"{name}_relu", name)
    return x, f"{name}_relu"


def convolve(
    x: Any,
    unit: Unit,
    filters: int,
    strides: int,
    address: str,
    index: str = "",
    initializer: Callable[[], keras.Initializer] = initializers.convolution,
) -> Any:
    """Convolve and normalize, with equal padding on all sides as in PyTorch."""
    strides = strides if unit.strided else 1
    settings: dict[str, Any] = {
        "kernel_size": unit.kernel_size,
        "strides": strides,
        "padding": "same",
        "use_bias": False,
        "name": f"{address}_conv{index}",
    }
    if strides > 1 and unit.kernel_size > 1:
        # With "same", Keras pads a strided convolution at the right and bottom only.
        x = keras.layers.ZeroPadding2D(unit.kernel_size // 2, name=f"{address}_pad{index}")(x)
        settings["padding"] = "valid"
    if unit.groups is None:
        layer = keras.layers.DepthwiseConv2D(depthwise_initializer=initializer(), **settings)
    else:
        layer = keras.layers.Conv2D(
            round(filters * unit.width),
            groups=unit.groups,
            kernel_initializer=initializer(),
            **settings,
        )
    norm = keras.layers.BatchNormalization(
        axis=channel_axis(), name=f"{address}_bn{index}", **BATCH_NORM
    )
    return norm(layer(x))
