"""Channel attention: which channels matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cbam.layers.arguments import get_activation, validate_pooling, validate_positive
from keras_cbam.layers.base import AttentionLayer, hidden_channels


def _root_of_sum_of_squares(x: Any, axis: Any, keepdims: bool) -> Any:
    # The constant keeps the gradient finite for a channel of zeros. It vanishes in any other sum.
    return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims) + 1e-36)


# The authors' pools over height and width. In their code, `lp` and `lse` are sums, not means.
POOLS = {"avg": ops.mean, "max": ops.max, "lp": _root_of_sum_of_squares, "lse": ops.logsumexp}


@keras.saving.register_keras_serializable(package="keras_cbam")
class ChannelAttention(AttentionLayer):
    """Channel attention of CBAM: gates from globally pooled features through one shared MLP.

    `x * sigmoid(MLP(AvgPool(x)) + MLP(MaxPool(x)))`, equation 2 of
    [CBAM](https://arxiv.org/abs/1807.06521), with an MLP `C -> C / reduction_ratio -> C`.
    The MLP consists of two 1x1 convolutions on the pooled `1x1` maps. They give the same numbers as
    dense layers, but need no reshapes, which converters would keep.

    Args:
        reduction_ratio: integer of at least 1. The hidden layer has
            `max(channels // reduction_ratio, 1)` units. Defaults to `16`.
        pooling: a pool or a sequence of pools over height and width. The MLP's outputs for all
            pools are added. `"avg"` is the mean, `"max"` the maximum, `"lp"` the square root of the
            sum of squares, `"lse"` the logarithm of the sum of exponentials. Defaults to
            `("avg", "max")`, the best of the paper's table 1.
        hidden_activation: activation between the two layers of the MLP. Defaults to `"relu"`.
        gate_activation: activation that turns the sum into gates. Defaults to `"sigmoid"`.
        use_bias: whether the MLP has biases, as in the authors' code. The last bias is added once
            for each pool. Defaults to `True`.
        identity_init: whether the layer starts as the identity, bit for bit for numbers up to
            1e15. The MLP's last kernel and bias then start at zero, and gates are
            `2 * gate_activation(z)`. Defaults to `False`, as in the paper.
        kernel_initializer: initializer of the MLP's kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: initializer of the MLP's biases. Defaults to `"zeros"`.
        kernel_regularizer: regularizer of the MLP's kernels. Defaults to `None`.
        bias_regularizer: regularizer of the MLP's biases. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`. The number of channels must be
        defined.

    Output shape:
        Same as the input. `attention(x)` has the shape `(batch, 1, 1, channels)` or
        `(batch, channels, 1, 1)`. A sigmoid gate is in (0, 1), or in (0, 2) with `identity_init`.

    Raises:
        ValueError: if the reduction ratio is below 1, a pool or an activation is unknown, the
            channel dimension is undefined, or the input is not of rank 4.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> layer = ChannelAttention(reduction_ratio=8, pooling=("avg", "max", "lse"))
        >>> tuple(layer(x).shape), tuple(layer.attention(x).shape)
        ((2, 8, 8, 32), (2, 1, 1, 32))
    """

    def __init__(
        self,
        reduction_ratio: int = 16,
        pooling: str | Sequence[str] = ("avg", "max"),
        hidden_activation: Any = "relu",
        gate_activation: Any = "sigmoid",
        use_bias: bool = True,
        identity_init: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
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
        validate_positive("reduction_ratio", reduction_ratio)
        self.reduction_ratio = reduction_ratio
        self.pooling = pooling
        self.pools = validate_pooling("pooling", pooling, POOLS)
        self.hidden_activation = get_activation("hidden_activation", hidden_activation)
        self.use_bias = use_bias

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        channels = self._channels(input_shape)
        hidden = hidden_channels(channels, self.reduction_ratio)
        self.squeeze = self._conv("squeeze", channels, hidden, use_bias=self.use_bias)
        self.excite = self._conv(
            "excite", hidden, channels, use_bias=self.use_bias, zero=self.identity_init
        )

    def _attention(self, inputs: Any, training: bool | None) -> Any:
        logits = sum(self._mlp(self._pool(name, inputs)) for name in self.pools)
        return self._from_channels_last(self._gate(logits))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "pooling": self.pooling,
            "hidden_activation": keras.activations.serialize(self.hidden_activation),
            "use_bias": self.use_bias,
        }

    def _pool(self, name: str, inputs: Any) -> Any:
        pooled = POOLS[name](inputs, axis=self.spatial_axes, keepdims=True)
        return self._to_channels_last(pooled)

    def _mlp(self, pooled: Any) -> Any:
        return self.excite(self.hidden_activation(self.squeeze(pooled)))
