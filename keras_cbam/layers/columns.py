"""A convolution to one channel, computed for several columns at a time."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

# How many columns are computed at a time.
COLUMNS = 4


def convolve_columns(x: Any, kernel: Any) -> Any:
    """Convolve a feature map to one channel, with stride 1 and padding `"same"`.

    For finite values, the result is that of `keras.ops.conv`, but for rounding. Libraries compute
    many output channels at once, so a convolution to a single one and its gradients are slow. Here,
    neighbouring columns become channels, and the kernel becomes a band matrix of its values.

    Args:
        x: the feature map, `(batch, height, width, channels)`. The width is known.
        kernel: `(height, width, channels, 1)`, with an odd width.

    Returns:
        `(batch, height, width, 1)`.
    """
    height, width, channels = ops.shape(x)[1:]
    groups = math.ceil(width / COLUMNS)
    x = ops.pad(x, ((0, 0), (0, 0), (0, groups * COLUMNS - width), (0, 0)))
    x = ops.reshape(x, (-1, height, groups, COLUMNS * channels))
    x = ops.conv(x, _band(kernel), padding="same", data_format="channels_last")
    return ops.reshape(x, (-1, height, groups * COLUMNS, 1))[:, :, :width]


def _band(kernel: Any) -> Any:
    """Return the kernel that convolves groups of columns as `kernel` convolves columns."""
    height, width, channels, _ = kernel.shape
    # The number of groups that the kernel reaches into, on each side of the group that it computes.
    side = math.ceil(width // 2 / COLUMNS)
    groups = 2 * side + 1
    shifted = []
    for column in range(COLUMNS):
        before = side * COLUMNS + column - width // 2
        after = groups * COLUMNS - width - before
        shifted.append(ops.pad(kernel, ((0, 0), (before, after), (0, 0), (0, 0))))
    return ops.reshape(ops.concatenate(shifted, -1), (height, groups, COLUMNS * channels, COLUMNS))
