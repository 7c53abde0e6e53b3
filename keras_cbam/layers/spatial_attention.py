"""Spatial attention: which places matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_cbam.layers.base import AttentionLayer, fresh_initializer, validate_pooling

POOLS = {"avg": ops.mean, "max": ops.max}

# The authors' code: epsilon 1e-5 and PyTorch's momentum 0.01, which is 0.99 in Keras's convention.
BATCH_NORM = {"momentum": 0.99, "epsilon": 1e-5}


@keras.saving.register_keras_serializable(package="keras_cbam")
class SpatialAttention(AttentionLayer):
    """Spatial attention of CBAM: a gate for each place from features pooled over the channels.

    `x * sigmoid(conv([mean over C; max over C]))`, equation 3 of
    [CBAM](https://arxiv.org/abs/1807.06521), with batch normalization after the convolution as in
    the authors' code.

    Args:
        kernel_size: odd integer of at least 1, the convolution's side. Defaults to `7`.
        pooling: a pool or a sequence of pools over the channels, of `"avg"` and `"max"`; their maps
            are concatenated in this order. Defaults to both.
        gate_activation: activation that makes gates of the logits. Defaults to `"sigmoid"`.
        use_batch_norm: whether the convolution is followed by batch normalization; without it, it
            has a bias. Defaults to `True`.
        identity_init: whether the layer starts as the identity, bit for bit: gates are
            `2 * gate_activation(z)`, and z starts at zero through the normalization's gamma, or
            through the kernel where there is no normalization. Defaults to `False`, the paper.
        kernel_initializer: initializer of the kernel. Defaults to `"glorot_uniform"`.
        kernel_regularizer: regularizer of the kernel. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`; height and width may be dynamic.

    Output shape:
        That of the input. `attention(x)` has `(batch, height, width, 1)` or
        `(batch, 1, height, width)`, with values in (0, 1), or in (0, 2) with `identity_init`.

    Raises:
        ValueError: on an even or non-positive kernel, an unknown pool or an input that is not of
            rank 4.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> tuple(SpatialAttention().attention(x).shape)
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
        kernel_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(gate_activation, identity_init, data_format, **kwargs)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                "Argument `kernel_size` must be an odd integer of at least 1. "
                f"Received: kernel_size={kernel_size}"
            )
        self.kernel_size = kernel_size
        self.pooling = validate_pooling(pooling, POOLS)
        self.use_batch_norm = use_batch_norm
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        # Zero either the normalization's gamma or the kernel, never both: batch normalization
        # rescales a zero kernel to unit variance at the first training step.
        zero_kernel = self.identity_init and not self.use_batch_norm
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, len(self.pooling), 1),
            initializer="zeros" if zero_kernel else fresh_initializer(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            name="kernel",
        )
        self.bias = None
        if not self.use_batch_norm:
            self.bias = self.add_weight(shape=(1,), initializer="zeros", name="bias")
        self.batch_norm = None
        if self.use_batch_norm:
            self.batch_norm = keras.layers.BatchNormalization(
                gamma_initializer="zeros" if self.identity_init else "ones",
                dtype=self.dtype_policy,
                name="batch_norm",
                **BATCH_NORM,
            )
            self.batch_norm.build((None, None, None, 1))

    def _attention(self, inputs, training):
        logits = sum(self._conv(index, inputs) for index in range(len(self.pooling)))
        if self.bias is not None:
            logits = logits + ops.cast(self.bias, self.compute_dtype)
        if self.batch_norm is not None:
            logits = self.batch_norm(logits, training=training)
        return self._from_channels_last(self._gate(logits))

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "pooling": self.pooling,
            "use_batch_norm": self.use_batch_norm,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }

    def _conv(self, index, inputs):
        """Convolve one pooled map with its slice of the kernel.

        The sum over the maps is the convolution of their concatenation. Written as a concatenation,
        TFLite's quantizer gives the maps one scale and carries it back through the maximum to the
        feature map, whose negative values it then cuts off.
        """
        kernel = ops.cast(self.kernel[:, :, index : index + 1, :], self.compute_dtype)
        pooled = POOLS[self.pooling[index]](inputs, axis=self.channel_axis, keepdims=True)
        return ops.conv(
            self._to_channels_last(pooled), kernel, padding="same", data_format="channels_last"
        )
