"""Checks of the arguments of a builder. Each error says what was expected and what was received."""

from __future__ import annotations

import math
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import keras

from keras_cbam.layers.arguments import at_least


def with_channels(size: tuple[int | None, int | None], channels: int) -> tuple[int | None, ...]:
    """Return the shape of images of a height and width in Keras's default data format."""
    last = keras.config.image_data_format() == "channels_last"
    return (*size, channels) if last else (channels, *size)


def image_input(input_shape: Any, input_tensor: Any, smallest: int) -> keras.KerasTensor:
    """Return the image input of a network: `input_tensor`, or a new input of `input_shape`.

    Raises:
        ValueError: if one of them does not have the shape of an image, is smaller than `smallest`,
            or if the two differ.
        TypeError: if `input_tensor` is not a Keras tensor of rank 4.
    """
    if input_tensor is None:
        _validate_shape("input_shape", input_shape, smallest)
        return keras.Input(tuple(input_shape))
    if not isinstance(input_tensor, keras.KerasTensor) or len(input_tensor.shape) != 4:
        raise TypeError(
            "Argument `input_tensor` must be a Keras tensor of rank 4, such as `keras.Input` "
            f"returns. Received: input_tensor={input_tensor}"
        )
    shape = tuple(input_tensor.shape[1:])
    _validate_shape("input_tensor", shape, smallest)
    if input_shape is not None and tuple(input_shape) != shape:
        raise ValueError(
            "Argument `input_shape` must equal the shape of `input_tensor`, or be None. Received: "
            f"input_shape={input_shape} with an input_tensor of {shape}"
        )
    return input_tensor


def _validate_shape(argument: str, shape: Any, smallest: int) -> None:
    last = keras.config.image_data_format() == "channels_last"
    sizes = tuple(shape) if isinstance(shape, list | tuple) else ()
    places, channels = (sizes[:2], sizes[2:]) if last else (sizes[1:], sizes[:1])
    fits = len(sizes) == 3 and all(size is None or at_least(size, smallest) for size in places)
    if not fits or not at_least(channels[0], 1):
        axes = "(height, width, channels)" if last else "(channels, height, width)"
        raise ValueError(
            f"Argument `{argument}` must be of {axes}, with height and width None or at least "
            f"{smallest}. Received: {argument}={shape}"
        )


def height_and_width(image_size: Any, smallest: int) -> tuple[Any, Any]:
    """Return `image_size`, one number or a height and a width, as a height and a width.

    Raises:
        ValueError: if it is neither, or if a side is smaller than `smallest`.
    """
    pair = (image_size, image_size) if isinstance(image_size, Integral) else image_size
    if (
        not isinstance(pair, list | tuple)
        or len(pair) != 2
        or not all(size is None or at_least(size, smallest) for size in pair)
    ):
        raise ValueError(
            "Argument `image_size` must be an integer, or a height and a width, each None or at "
            f"least {smallest}. Received: image_size={image_size}"
        )
    return pair[0], pair[1]


def validate_weights(weights: Any) -> None:
    """Raise ValueError unless `weights` is `None` or the path of a file."""
    is_file = isinstance(weights, str | Path) and Path(weights).is_file()
    if weights is not None and not is_file:
        raise ValueError(
            "Argument `weights` must be None or the path of a weights file. No weights are "
            "published in Keras's format; keras_cbam.checkpoints.load_reference reads the "
            f"authors' checkpoints. Received: weights={weights}"
        )


def scaled(filters: tuple[int, ...], argument: str, factor: float) -> tuple[int, ...]:
    """Return `filters` times `factor`, rounded down.

    Raises:
        ValueError: if `factor` is not a number, or leaves a layer without a filter.
    """
    number = isinstance(factor, Real) and not isinstance(factor, bool) and math.isfinite(factor)
    if not number or factor * min(filters) < 1:
        raise ValueError(
            f"Argument `{argument}` must be a number of at least 1/{min(filters)}. "
            f"Received: {argument}={factor}"
        )
    return tuple(int(f * factor) for f in filters)
