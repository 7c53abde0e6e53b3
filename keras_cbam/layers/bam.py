"""BAM: one gate per value, from a channel branch and a dilated spatial branch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cbam.layers.arguments import get_activation, validate_choice, validate_positive
from keras_cbam.layers.base import AttentionLayer, hidden_channels

# How the logits of the two branches are combined: in the authors' code, and in the paper's text.
FUSIONS = {"multiply": ops.multiply, "add": ops.add}

# PyTorch's defaults, which the authors' code uses. PyTorch's momentum is one minus Keras's.
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}

DILATED_CONVOLUTIONS = 2


@keras.saving.register_keras_serializable(package="keras_cbam")
class BAM(AttentionLayer):
    """Bottleneck Attention Module: `x * (1 + sigmoid(Mc(x) * Ms(x)))`.

    [BAM](https://arxiv.org/abs/1807.06514) is by the authors of CBAM, and stands at the end of a
    network's stages. `Mc` is an MLP on the channel means, with batch normalization between its
    layers. `Ms` is a 1x1 convolution to `C / reduction_ratio` channels, two dilated 3x3
    convolutions and a 1x1 convolution to one channel. Batch normalization follows each of these
    convolutions except the last. The layer has exactly the parameters of the authors' code. That
    code multiplies the branches; equation 2 of the paper adds them.

    Args:
        reduction_ratio: integer of at least 1. Both bottlenecks have
            `max(channels // reduction_ratio, 1)` channels. Defaults to `16`.
        dilation: integer of at least 1, the dilation of the two 3x3 convolutions. Defaults to
            `4`.
        fusion: `"multiply"`, as in the authors' code, or `"add"`, as in the paper's text. Defaults
            to `"multiply"`.
        hidden_activation: activation after each normalization. Defaults to `"relu"`.
        gate_activation: activation of the product or sum of the branches. Defaults to `"sigmoid"`.
        identity_init: whether the layer starts as the identity, bit for bit for numbers up to
            1e15. Gates are then `2 * gate_activation(z)` instead of `1 + gate_activation(z)`. The
            MLP's last kernel and bias start at zero, and with `fusion="add"` those of the spatial
            branch too. Defaults to `False`, as in the paper, where the layer scales its input by
            about 1.5 at the start.
        kernel_initializer: initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: initializer of the biases. Defaults to `"zeros"`.
        kernel_regularizer: regularizer of the kernels. Defaults to `None`.
        bias_regularizer: regularizer of the biases. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` means Keras's default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)` for `channels_last`,
        `(batch, channels, height, width)` for `channels_first`. The number of channels must be
        defined. The channel branch normalizes over the batch only. In training mode with a batch
        of one, its output does not depend on the input.

    Output shape:
        Same as the input. `attention(x)` has this shape too. A sigmoid gate is in (1, 2), or in
        (0, 2) with `identity_init`.

    Raises:
        ValueError: if the reduction ratio or dilation is below 1, the fusion or an activation is
            unknown, the channel dimension is undefined, or the input is not of rank 4.

    Example:
        >>> x = keras.random.normal((2, 8, 8, 32))
        >>> gates = BAM().attention(x)
        >>> tuple(gates.shape), bool(keras.ops.min(gates) >= 1)
        ((2, 8, 8, 32), True)
    """

    def __init__(
        self,
        reduction_ratio: int = 16,
        dilation: int = 4,
        fusion: str = "multiply",
        hidden_activation: Any = "relu",
        gate_activation: Any = "sigmoid",
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
        validate_positive("dilation", dilation)
        validate_choice("fusion", fusion, FUSIONS)
        self.reduction_ratio = reduction_ratio
        self.dilation = dilation
        self.fusion = fusion
        self.hidden_activation = get_activation("hidden_activation", hidden_activation)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        channels = self._channels(input_shape)
        hidden = hidden_channels(channels, self.reduction_ratio)
        self.squeeze = self._conv("squeeze", channels, hidden)
        self.squeeze_norm = self._batch_norm("squeeze_norm", hidden, **BATCH_NORM)
        self.excite = self._conv("excite", hidden, channels, zero=self.identity_init)
        self.reduce = self._conv("reduce", channels, hidden)
        self.reduce_norm = self._batch_norm("reduce_norm", hidden, **BATCH_NORM)
        self.dilated, self.dilated_norms = [], []
        for i in range(DILATED_CONVOLUTIONS):
            conv = self._conv(f"dilated_{i}", hidden, hidden, 3, dilation=self.dilation)
            self.dilated.append(conv)
            self.dilated_norms.append(self._batch_norm(f"dilated_{i}_norm", hidden, **BATCH_NORM))
        # One zero factor makes the product zero. With both at zero, neither would get a gradient.
        zero = self.identity_init and self.fusion == "add"
        self.score = self._conv("score", hidden, 1, zero=zero)

    def _attention(self, inputs: Any, training: bool | None) -> Any:
        logits = FUSIONS[self.fusion](
            self._channel_branch(inputs, training), self._spatial_branch(inputs, training)
        )
        return self._from_channels_last(self._gate(logits))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction_ratio": self.reduction_ratio,
            "dilation": self.dilation,
            "fusion": self.fusion,
            "hidden_activation": keras.activations.serialize(self.hidden_activation),
        }

    def _gate(self, logits: Any) -> Any:
        return super()._gate(logits) if self.identity_init else 1 + self.gate_activation(logits)

    def _channel_branch(self, inputs: Any, training: bool | None) -> Any:
        x = self._to_channels_last(ops.mean(inputs, axis=self.spatial_axes, keepdims=True))
        x = self.hidden_activation(self.squeeze_norm(self.squeeze(x), training=training))
        return self.excite(x)

    def _spatial_branch(self, inputs: Any, training: bool | None) -> Any:
        x = self._to_channels_last(inputs)
        x = self.hidden_activation(self.reduce_norm(self.reduce(x), training=training))
        for conv, norm in zip(self.dilated, self.dilated_norms, strict=True):
            x = self.hidden_activation(norm(conv(x), training=training))
        return self.score(x)
