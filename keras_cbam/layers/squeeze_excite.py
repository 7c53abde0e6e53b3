"""Squeeze-and-excitation: channel attention from the mean alone."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.layers.channel_attention import ChannelAttention


@keras.saving.register_keras_serializable(package="keras_cbam")
class SqueezeExcite(ChannelAttention):
    """Squeeze-and-excitation: `x * sigmoid(MLP(AvgPool(x)))`.

    The module that the paper's tables compare with, equations 2 to 4 of
    [SE](https://arxiv.org/abs/1709.01507): `ChannelAttention` with `pooling="avg"`. The MLP has
    biases, without which the tables' parameter counts are not met.

    Args:
        reduction_ratio: integer of at least 1. The hidden layer has
            `max(channels // reduction_ratio, 1)` units. Defaults to `16`.
        **kwargs: every other argument of `ChannelAttention` but `pooling`: `hidden_activation`,
            `gate_activation`, `use_bias`, `identity_init`, the initializers and regularizers of
            kernels and biases, `data_format`; `name`, `dtype` and `trainable`, as for any Keras
            layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`; channels defined.

    Output shape:
        That of the input. `attention(x)` has `(batch, 1, 1, channels)` or
        `(batch, channels, 1, 1)`; a sigmoid gate is in (0, 1), or in (0, 2) with `identity_init`.

    Raises:
        ValueError: as `ChannelAttention` does.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> tuple(SqueezeExcite(reduction_ratio=4).attention(x).shape)
        (2, 1, 1, 32)
    """

    def __init__(self, reduction_ratio: int = 16, **kwargs: Any):
        super().__init__(reduction_ratio, pooling="avg", **kwargs)

    def get_config(self):
        config = super().get_config()
        del config["pooling"]
        return config
