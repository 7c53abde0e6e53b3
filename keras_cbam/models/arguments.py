"""Checks of what users pass to a builder: one sentence, with what was expected and what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras


def with_channels(size: tuple[int | None, int | None], channels: int) -> tuple[int | None, ...]:
    """Return the shape of images of a height and width, in Keras's own data format."""
    last = keras.config.image_data_format() == "channels_last"
    return (*size, channels) if last else (channels, *size)


def image_input(input_shape: Any, smallest: int) -> keras.KerasTensor:
    """Return an input for images of `input_shape`.

    Raises:
        ValueError: if it is no shape of an image, or of one smaller than `smallest`.
    """
    last = keras.config.image_data_format() == "channels_last"
    shape = tuple(input_shape) if isinstance(input_shape, list | tuple) else ()
    places = shape[:2] if last else shape[1:]
    if (
        len(shape) != 3
        or not all(size is None or _at_least(size, smallest) for size in places)
        or not _at_least(shape[2 if last else 0], 1)
    ):
        axes = "(height, width, channels)" if last else "(channels, height, width)"
        raise ValueError(
            f"Argument `input_shape` must be {axes}, height and width None or at least {smallest}. "
            f"Received: input_shape={input_shape}"
        )
    return keras.Input(shape)


def _at_least(size: Any, smallest: int) -> bool:
    return isinstance(size, int) and size >= smallest


def validate_tensor(input_tensor: Any) -> None:
    """Raise TypeError unless `input_tensor` is a Keras tensor of rank 4."""
    if not isinstance(input_tensor, keras.KerasTensor) or len(input_tensor.shape) != 4:
        raise TypeError(
            "Argument `input_tensor` must be a Keras tensor of images, such as `keras.Input` "
            f"returns, of rank 4. Received: input_tensor={input_tensor}"
        )


def validate_weights(weights: Any) -> None:
    """Raise ValueError unless `weights` is `None` or the path of a file."""
    if weights is None:
        return
    if not isinstance(weights, str | Path) or not Path(weights).is_file():
        raise ValueError(
            "Argument `weights` must be None or the path of a weights file. None are published in "
            "Keras's format; keras_cbam.checkpoints.load_reference reads the authors'. "
            f"Received: weights={weights}"
        )


def scaled(filters: tuple[int, ...], argument: str, factor: float) -> tuple[int, ...]:
    """Return `filters` times `factor`, cut off to whole numbers.

    Raises:
        ValueError: if `factor` is no number that leaves every layer a filter.
    """
    number = isinstance(factor, int | float) and not isinstance(factor, bool)
    if not number or factor * min(filters) < 1:
        raise ValueError(
            f"Argument `{argument}` must be a number of at least 1/{min(filters)}. "
            f"Received: {argument}={factor}"
        )
    return tuple(int(f * factor) for f in filters)
