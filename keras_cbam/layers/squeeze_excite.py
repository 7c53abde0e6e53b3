"""Squeeze-and-excitation: channel attention from the mean only."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.layers.channel_attention import ChannelAttention


@keras.saving.register_keras_serializable(package="keras_cbam")
class SqueezeExcite(ChannelAttention):
    """Squeeze-and-excitation: `x * sigmoid(MLP(AvgPool(x)))`.

    Equations 2 to 4 of [SE](https://arxiv.org/abs/1709.01507): `ChannelAttention` with
    `pooling="avg"`. The paper on CBAM compares with this module in its tables. The MLP has biases;
    without them, the parameter counts would not match those tables.

    Args:
        reduction_ratio: integer of at least 1. The hidden layer has
            `max(channels // reduction_ratio, 1)` units. Defaults to `16`.
        **kwargs: all other arguments of `ChannelAttention` except `pooling`: `hidden_activation`,
            `gate_activation`, `use_bias`, `identity_init`, the initializers and regularizers of
            kernels and biases, and `data_format`. Also `name`, `dtype` and `trainable`, as for any
            Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`. The number of channels must be
        defined.

    Output shape:
        Same as the input. `attention(x)` has the shape `(batch, 1, 1, channels)` or
        `(batch, channels, 1, 1)`. A sigmoid gate is in (0, 1), or in (0, 2) with `identity_init`.

    Raises:
        ValueError: in the same cases as `ChannelAttention`.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> tuple(SqueezeExcite(reduction_ratio=4).attention(x).shape)
        (2, 1, 1, 32)
    """

    def __init__(self, reduction_ratio: int = 16, **kwargs: Any):
        super().__init__(reduction_ratio, pooling="avg", **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["pooling"]
        return config
