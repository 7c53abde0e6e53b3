"""CBAM: channel attention, then spatial attention."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.layers.base import AttentionLayer
from keras_cbam.layers.channel_attention import ChannelAttention
from keras_cbam.layers.spatial_attention import SpatialAttention


@keras.saving.register_keras_serializable(package="keras_cbam")
class CBAM(AttentionLayer):
    """Convolutional Block Attention Module: refines a feature map by channel, then by place.

    `x' = Mc(x) * x; x'' = Ms(x') * x'`, equation 1 of [CBAM](https://arxiv.org/abs/1807.06521),
    with `Mc` of `ChannelAttention` and `Ms` of `SpatialAttention`. In a residual network it belongs
    on the residual branch, after its last normalization and before the addition;
    `keras_cbam.attach_attention` puts it there.

    Args:
        reduction_ratio: integer of at least 1, of the channel attention's MLP. Defaults to `16`.
        kernel_size: odd integer, of the spatial attention's convolution. Defaults to `7`.
        gate_activation: activation of both gates. Defaults to `"sigmoid"`.
        use_bias: whether the MLP has biases. Defaults to `True`.
        use_batch_norm: whether the spatial convolution is followed by batch normalization. Defaults
            to `True`.
        identity_init: whether the layer starts as the identity, bit for bit. Defaults to `False`,
            the paper, which scales its input by about 0.22 at the start.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`; channels defined.

    Output shape:
        That of the input. `attention(x)` is the tuple `(channel, spatial)` of
        `ChannelAttention.attention` and `SpatialAttention.attention`, the latter of the feature map
        already refined by channel.

    Raises:
        ValueError: as the two halves do.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> y = CBAM(identity_init=True)(x)
        >>> bool(keras.ops.all(y == x))
        True
    """

    def __init__(
        self,
        reduction_ratio: int = 16,
        kernel_size: int = 7,
        gate_activation: Any = "sigmoid",
        use_bias: bool = True,
        use_batch_norm: bool = True,
        identity_init: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(gate_activation, identity_init, data_format, **kwargs)
        self.reduction_ratio = reduction_ratio
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.use_batch_norm = use_batch_norm
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        shared = {
            "gate_activation": gate_activation,
            "identity_init": identity_init,
            "kernel_initializer": self.kernel_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "data_format": self.data_format,
            "dtype": self.dtype_policy,
        }
        self.channel_attention = ChannelAttention(
            reduction_ratio,
            use_bias=use_bias,
            name="channel_attention",
            **shared,
        )
        self.spatial_attention = SpatialAttention(
            kernel_size,
            use_batch_norm=use_batch_norm,
            name="spatial_attention",
            **shared,
        )

    def build(self, input_shape):
        self.channel_attention.build(input_shape)
        self.spatial_attention.build(input_shape)

    def _attention(self, inputs, training):
        channel = self.channel_attention.attention(inputs, training=training)
        spatial = self.spatial_attention.attention(inputs * channel, training=training)
        return channel, spatial

    def call(self, inputs, training=None):
        refined = self.channel_attention(inputs, training=training)
        return self.spatial_attention(refined, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "use_batch_norm": self.use_batch_norm,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
