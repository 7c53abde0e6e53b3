"""CBAM: channel attention and spatial attention, one after the other or side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_cbam.layers.arguments import validate_choice, validate_pooling
from keras_cbam.layers.base import AttentionLayer
from keras_cbam.layers.channel_attention import POOLS, ChannelAttention
from keras_cbam.layers.spatial_attention import POOLINGS, SpatialAttention

# The halves of each order, in the order in which they multiply the feature map. Each half sees the
# map that the half before it has refined. With PARALLEL, both see the input.
PARALLEL = "parallel"
ORDERS = {
    "channel_spatial": ("channel", "spatial"),
    "spatial_channel": ("spatial", "channel"),
    PARALLEL: ("channel", "spatial"),
    "channel": ("channel",),
    "spatial": ("spatial",),
}


@keras.saving.register_keras_serializable(package="keras_cbam")
class CBAM(AttentionLayer):
    """Convolutional Block Attention Module: refines a feature map by channel, then by position.

    `x' = Mc(x) * x; x'' = Ms(x') * x'`, equation 1 of [CBAM](https://arxiv.org/abs/1807.06521).
    `ChannelAttention` computes `Mc`, and `SpatialAttention` computes `Ms`. In a residual network,
    the layer belongs on the residual branch, after the branch's last normalization and before the
    addition. `keras_cbam.attach_attention` puts it there.

    Args:
        reduction_ratio: integer of at least 1, the reduction ratio of the channel attention's MLP.
            Defaults to `16`.
        kernel_size: odd integer, the kernel size of the spatial attention's convolution. Defaults
            to `7`.
        order: `"channel_spatial"`, `"spatial_channel"` or `"parallel"`, the orders of the paper's
            table 3, or only one half, `"channel"` or `"spatial"`. `"parallel"` computes
            `x * Mc(x) * Ms(x)`. Defaults to `"channel_spatial"`, the best of that table.
        channel_pooling: one or several pools of the channel attention: `"avg"`, `"max"`, `"lp"` and
            `"lse"`. Defaults to `("avg", "max")`.
        spatial_pooling: one or several pools of the spatial attention: `"avg"`, `"max"` and
            `"conv"`. Defaults to `("avg", "max")`.
        hidden_activation: activation between the two layers of the MLP. Defaults to `"relu"`.
        gate_activation: activation of both gates. Defaults to `"sigmoid"`.
        use_bias: whether the MLP has biases. Defaults to `True`.
        use_batch_norm: whether batch normalization follows the spatial convolution. Without it, the
            convolution has a bias. Defaults to `True`.
        identity_init: whether the layer starts as the identity, bit for bit for numbers up to
            1e15. Defaults to `False`, as in the paper, where the layer scales its input down to
            about a quarter at the start.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: initializer of the biases. Defaults to `"zeros"`.
        gamma_initializer: initializer of the normalization's gamma. The authors' networks start it
            at zero. Defaults to `"ones"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        bias_regularizer: regularizer of the biases. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`. The number of channels must be
        defined.

    Output shape:
        Same as the input. `attention(x)` is the tuple `(channel, spatial)` of the results of
        `ChannelAttention.attention` and `SpatialAttention.attention`, each for the feature map that
        it sees in this order. A half that the order leaves out is `None`.

    Raises:
        ValueError: if the order is unknown, or if one of the halves raises it.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> y = CBAM(identity_init=True)(x)
        >>> bool(keras.ops.all(y == x))
        True
        >>> channel, spatial = CBAM(order="spatial_channel").attention(x)
        >>> tuple(channel.shape), tuple(spatial.shape)
        ((2, 1, 1, 32), (2, 8, 8, 1))
    """

    def __init__(
        self,
        reduction_ratio: int = 16,
        kernel_size: int = 7,
        order: str = "channel_spatial",
        channel_pooling: str | Sequence[str] = ("avg", "max"),
        spatial_pooling: str | Sequence[str] = ("avg", "max"),
        hidden_activation: Any = "relu",
        gate_activation: Any = "sigmoid",
        use_bias: bool = True,
        use_batch_norm: bool = True,
        identity_init: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            gate_activation=gate_activation,
            identity_init=identity_init,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            data_format=data_format,
            **kwargs,
        )
        validate_choice("order", order, ORDERS)
        self.reduction_ratio = reduction_ratio
        self.kernel_size = kernel_size
        self.order = order
        self.channel_pooling = channel_pooling
        self.spatial_pooling = spatial_pooling
        self.use_bias = use_bias
        self.use_batch_norm = use_batch_norm
        shared = {
            "gate_activation": self.gate_activation,
            "identity_init": identity_init,
            "kernel_initializer": self.kernel_initializer,
            "bias_initializer": self.bias_initializer,
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer,
            "data_format": self.data_format,
            # Between the halves, the map stays in the wider dtype: the product of input and first
            # gate may exceed float16's range even where the output does not.
            "dtype": self.gate_dtype,
        }
        channel = ChannelAttention(
            reduction_ratio,
            pooling=validate_pooling("channel_pooling", channel_pooling, POOLS),
            hidden_activation=hidden_activation,
            use_bias=use_bias,
            name="channel_attention",
            **shared,
        )
        spatial = SpatialAttention(
            kernel_size,
            pooling=validate_pooling("spatial_pooling", spatial_pooling, POOLINGS),
            use_batch_norm=use_batch_norm,
            gamma_initializer=gamma_initializer,
            name="spatial_attention",
            **shared,
        )
        self.hidden_activation = channel.hidden_activation
        self.gamma_initializer = spatial.gamma_initializer
        self.channel_attention = channel if "channel" in ORDERS[order] else None
        self.spatial_attention = spatial if "spatial" in ORDERS[order] else None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        for half in ORDERS[self.order]:
            self._half(half).build(input_shape)
        self.input_spec = self._half(ORDERS[self.order][0]).input_spec

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        refined, _ = self._refine(self._widen(inputs), training)
        return self._narrow(refined)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "kernel_size": self.kernel_size,
            "order": self.order,
            "channel_pooling": self.channel_pooling,
            "spatial_pooling": self.spatial_pooling,
            "hidden_activation": keras.activations.serialize(self.hidden_activation),
            "use_bias": self.use_bias,
            "use_batch_norm": self.use_batch_norm,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }

    def _attention(self, inputs: Any, training: bool | None) -> Any:
        _, gates = self._refine(inputs, training)
        return gates.get("channel"), gates.get("spatial")

    def _refine(self, inputs: Any, training: bool | None) -> Any:
        """Return the refined feature map, and the gates of each half."""
        refined, gates = inputs, {}
        for half in ORDERS[self.order]:
            seen = inputs if self.order == PARALLEL else refined
            with keras.name_scope(half):
                gates[half] = self._half(half)._gates(seen, training)
                refined = refined * gates[half]
        return refined, gates

    def _half(self, name: str) -> Any:
        return getattr(self, f"{name}_attention")
