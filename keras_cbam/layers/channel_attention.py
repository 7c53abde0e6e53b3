"""Channel attention: which channels matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cbam.layers.base import AttentionLayer, fresh_initializer, validate_pooling

POOLS = {"avg": ops.mean, "max": ops.max}


@keras.saving.register_keras_serializable(package="keras_cbam")
class ChannelAttention(AttentionLayer):
    """Channel attention of CBAM: gates from globally pooled features through one shared MLP.

    `x * sigmoid(MLP(AvgPool(x)) + MLP(MaxPool(x)))`, equation 2 of
    [CBAM](https://arxiv.org/abs/1807.06521), with an MLP `C -> C / reduction_ratio -> C`.
    The MLP is a pair of 1x1 convolutions on the pooled `1x1` maps: the same numbers as dense
    layers, without the reshapes that converters keep.

    Args:
        reduction_ratio: integer of at least 1. The hidden layer has
            `max(channels // reduction_ratio, 1)` units. Defaults to `16`.
        pooling: a pool or a sequence of pools over height and width, of `"avg"` and `"max"`; the
            MLP's answers to each are added. Defaults to both.
        hidden_activation: activation between the two layers of the MLP. Defaults to `"relu"`.
        gate_activation: activation that makes gates of the sum. Defaults to `"sigmoid"`.
        use_bias: whether the MLP has biases, as in the authors' code. Defaults to `True`.
        identity_init: whether the layer starts as the identity, bit for bit: the MLP's last kernel
            starts at zero and gates are `2 * gate_activation(z)`. Defaults to `False`, the paper.
        kernel_initializer: initializer of the MLP's kernels. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the MLP's kernels. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`; channels defined.

    Output shape:
        That of the input. `attention(x)` has `(batch, 1, 1, channels)` or
        `(batch, channels, 1, 1)`, with values in (0, 1), or in (0, 2) with `identity_init`.

    Raises:
        ValueError: on a reduction ratio below 1, an unknown pool, an undefined channel dimension or
            an input that is not of rank 4.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> tuple(ChannelAttention(reduction_ratio=8)(x).shape)
        (2, 8, 8, 32)
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
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(gate_activation, identity_init, data_format, **kwargs)
        if reduction_ratio < 1:
            raise ValueError(
                "Argument `reduction_ratio` must be at least 1. "
                f"Received: reduction_ratio={reduction_ratio}"
            )
        self.reduction_ratio = reduction_ratio
        self.pooling = validate_pooling(pooling, POOLS)
        self.hidden_activation = keras.activations.get(hidden_activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        channels = self._channels(input_shape)
        hidden = max(channels // self.reduction_ratio, 1)
        self.squeeze = self._dense("squeeze", hidden, self.kernel_initializer)
        self.excite = self._dense(
            "excite", channels, "zeros" if self.identity_init else self.kernel_initializer
        )
        self.squeeze.build((None, 1, 1, channels))
        self.excite.build((None, 1, 1, hidden))

    def _attention(self, inputs, training):
        logits = sum(self._mlp(self._pool(name, inputs)) for name in self.pooling)
        return self._from_channels_last(self._gate(logits))

    def get_config(self):
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "pooling": self.pooling,
            "hidden_activation": keras.activations.serialize(self.hidden_activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    def _dense(self, name, units, kernel_initializer):
        return keras.layers.Conv2D(
            units,
            kernel_size=1,
            use_bias=self.use_bias,
            kernel_initializer=fresh_initializer(kernel_initializer),
            kernel_regularizer=self.kernel_regularizer,
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=name,
        )

    def _pool(self, name, inputs):
        pooled = POOLS[name](inputs, axis=self.spatial_axes, keepdims=True)
        return self._to_channels_last(pooled)

    def _mlp(self, pooled):
        return self.excite(self.hidden_activation(self.squeeze(pooled)))
