"""Spatial attention: which positions matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cbam.layers.arguments import validate_pooling, validate_positive
from keras_cbam.layers.base import AttentionLayer, fresh
from keras_cbam.layers.columns import convolve_columns

POOLS = {"avg": ops.mean, "max": ops.max}
# A pool with weights, in addition to those in POOLS.
CONV = "conv"
POOLINGS = (*POOLS, CONV)

# The authors' code: epsilon 1e-5 and PyTorch's momentum 0.01, which is 0.99 in Keras's convention.
BATCH_NORM = {"momentum": 0.99, "epsilon": 1e-5}


@keras.saving.register_keras_serializable(package="keras_cbam")
class SpatialAttention(AttentionLayer):
    """Spatial attention of CBAM: a gate for each position from features pooled over the channels.

    `x * sigmoid(conv([mean over C; max over C]))`, equation 3 of
    [CBAM](https://arxiv.org/abs/1807.06521), with batch normalization after the convolution, as in
    the authors' code.

    Args:
        kernel_size: odd integer of at least 1, the kernel size of the convolution. Defaults to `7`.
        pooling: a pool or a sequence of pools over the channels. Their maps are concatenated in
            this order. `"avg"` is the mean, `"max"` the maximum. `"conv"` is a 1x1 convolution to
            one channel without a bias, the variant of the paper's table 2. Defaults to
            `("avg", "max")`, the best of that table.
        gate_activation: activation that turns logits into gates. Defaults to `"sigmoid"`.
        use_batch_norm: whether batch normalization follows the convolution. Without it, the
            convolution has a bias. Defaults to `True`.
        identity_init: whether the layer starts as the identity, bit for bit for numbers up to
            1e15. Gates are then `2 * gate_activation(z)`. For z to start at zero, the
            normalization's gamma starts at zero, or without normalization the kernel and bias do.
            Defaults to `False`, as in the paper.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: initializer of the bias. Defaults to `"zeros"`.
        gamma_initializer: initializer of the normalization's gamma. The authors' networks start it
            at zero. Defaults to `"ones"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        bias_regularizer: regularizer of the bias. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`. Height and width may be dynamic.
        The number of channels may be dynamic too, unless `"conv"` pools them.

    Output shape:
        Same as the input. `attention(x)` has the shape `(batch, height, width, 1)` or
        `(batch, 1, height, width)`. A sigmoid gate is in (0, 1), or in (0, 2) with `identity_init`.

    Raises:
        ValueError: if the kernel size is even or below 1, a pool or the activation is unknown, or
            the input is not of rank 4.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> tuple(SpatialAttention(kernel_size=3, pooling="conv").attention(x).shape)
        (2, 8, 8, 1)
    """

    def __init__(
        self,
        kernel_size: int = 7,
        pooling: str | Sequence[str] = ("avg", "max"),
        gate_activation: Any = "sigmoid",
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
        validate_positive("kernel_size", kernel_size, odd=True)
        self.kernel_size = kernel_size
        self.pooling = pooling
        self.pools = validate_pooling("pooling", pooling, POOLINGS)
        self.use_batch_norm = use_batch_norm
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.pool: Any = None
        if CONV in self.pools:
            self.pool = self._conv("pool", self._channels(input_shape), 1, use_bias=False)
        # Start either the normalization's gamma or the kernel at zero, never both: at the first
        # training step, batch normalization rescales a zero kernel to unit variance.
        zero = self.identity_init and not self.use_batch_norm
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, len(self.pools), 1),
            initializer="zeros" if zero else fresh(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            dtype=self.gate_dtype,
            autocast=False,
            name="kernel",
        )
        self.bias = self.batch_norm = None
        if self.use_batch_norm:
            self.batch_norm = self._batch_norm(
                "batch_norm",
                channels=1,
                gamma_initializer="zeros" if self.identity_init else fresh(self.gamma_initializer),
                **BATCH_NORM,
            )
        else:
            self.bias = self.add_weight(
                shape=(1,),
                initializer="zeros" if zero else fresh(self.bias_initializer),
                regularizer=self.bias_regularizer,
                dtype=self.gate_dtype,
                autocast=False,
                name="bias",
            )

    def _attention(self, inputs: Any, training: bool | None) -> Any:
        pooled = [self._pool(name, inputs) for name in self.pools]
        logits = self._convolve(pooled, training)
        if self.batch_norm is None:
            logits = logits + self.bias
        else:
            logits = self.batch_norm(logits, training=training)
        return self._from_channels_last(self._gate(logits))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "pooling": self.pooling,
            "use_batch_norm": self.use_batch_norm,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
        }

    def _pool(self, name: str, inputs: Any) -> Any:
        if name == CONV:
            return self.pool(self._to_channels_last(inputs))
        return self._to_channels_last(POOLS[name](inputs, axis=self.channel_axis, keepdims=True))

    def _convolve(self, pooled: Any, training: bool | None) -> Any:
        """Convolve the concatenated pooled maps.

        In inference, each map is convolved with its slice of the kernel, and the results are added.
        Exported graphs stay so. For a concatenation, TFLite's quantizer would give all maps one
        scale. It would carry that scale back through the maximum to the feature map, and cut off
        the feature map's negative values.
        """
        if training and isinstance(pooled[0].shape[2], int):
            return convolve_columns(ops.concatenate(pooled, -1), self.kernel)
        return sum(
            ops.conv(
                x, self.kernel[:, :, i : i + 1, :], padding="same", data_format="channels_last"
            )
            for i, x in enumerate(pooled)
        )
