"""The base of all attention layers: shared options, the precision of gates, the multiplication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_cbam.layers.arguments import get_activation, validate_choice

# The axes of a feature map.
AXES = {
    "channels_last": "(batch, height, width, channels)",
    "channels_first": "(batch, channels, height, width)",
}
# Activations that are known to be 0.5 at zero. `identity_init` evaluates all others, which is
# impossible while a model is traced.
HALF_AT_ZERO = (keras.activations.sigmoid, keras.activations.hard_sigmoid)


class Refinement(keras.layers.Layer):
    """A layer that is inserted into a network, and trained with its own learning rate.

    `freeze_backbone` keeps it trainable, and `training.group_variables` counts it as attention.
    """


class AttentionLayer(Refinement):
    """Base of the attention layers: `call` multiplies the inputs by `attention(inputs)`.

    Gates and their product with the inputs are computed in float32, or in float64 under that
    policy. Only the result is cast to the compute dtype. Float16 ends at 65504. The pools of a
    half-precision map, the outputs of an MLP or a convolution on them, and the gradient of a gate,
    a sum over the map, soon exceed that. Weights have the dtype of the gates too. (On JAX and
    PyTorch, Keras's own mean and batch normalization go through float32 even under a float64
    policy.)

    Convolutions inside a gate run in `channels_last`, whatever the data format of the feature map.
    TensorFlow has no `channels_first` convolution on a CPU. Most of these convolutions read a
    pooled vector or a map of few channels, so the transposition costs almost nothing.

    Args:
        gate_activation: name or callable. The function that turns logits into gates.
        identity_init: whether gates are `2 * gate_activation(logits)` with logits that start at
            exactly zero. The new layer then returns its input bit for bit, in training mode too.
            It trains like any other layer. Within three steps, gradients reach every weight that
            no dead hidden unit cuts off. An Adam step of 1e-4 moves the outputs by less than 0.5 %
            of their range on maps of 16 channels, and by less than 2 % at 2048. With `lp`, whose
            pools grow with the map, it moves them by less than 4 % at 28x28x512. The factor of 2
            stays for the layer's life. Compilers may reorder the constants of a hard sigmoid,
            which costs a bit. A sigmoid stays exact when compiled, except for float32 numbers
            below 1e-38, which some compilers treat as zero. The sums and squares over the map must
            be finite in float32, as they are for numbers up to 1e15. Beyond that, gates may be
            NaN.
        kernel_initializer: initializer of the kernels, except a last kernel that `identity_init`
            starts at zero.
        bias_initializer: initializer of the biases, with the same exception.
        kernel_regularizer: regularizer of the kernels.
        bias_regularizer: regularizer of the biases.
        data_format: `"channels_last"`, `"channels_first"`, or `None` for Keras's own default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Raises:
        ValueError: if an activation or the data format is unknown, or if `identity_init` is set
            and the gate activation is not 0.5 at zero.
    """

    def __init__(
        self,
        *,
        gate_activation: Any = "sigmoid",
        identity_init: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.gate_activation = get_activation("gate_activation", gate_activation)
        self.identity_init = identity_init
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        # Set temporarily, to observe the gates and inputs of this layer or to replace the gates.
        self._replace_gates: Callable[[Any, Any], Any] | None = None
        validate_choice("data_format", self.data_format, AXES)
        if identity_init and self.gate_activation not in HALF_AT_ZERO:
            at_zero = float(ops.convert_to_numpy(self.gate_activation(ops.zeros((1,))))[0])
            if at_zero != 0.5:
                raise ValueError(
                    "With `identity_init=True`, argument `gate_activation` must be 0.5 at zero, as "
                    "sigmoid and hard_sigmoid are. "
                    f"Received: gate_activation={gate_activation}, which is {at_zero} at zero"
                )

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in the feature map."""
        return -1 if self.data_format == "channels_last" else 1

    @property
    def spatial_axes(self) -> tuple[int, int]:
        """The axes of height and width in the feature map."""
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    @property
    def gate_dtype(self) -> str:
        """The dtype of the weights, in which gates are computed."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def build(self, input_shape: Any) -> None:
        self._validate_rank(input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def attention(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the gates that `call` multiplies the inputs by.

        Args:
            inputs: a feature map, as for `call`.
            training: whether batch normalization, if the layer has it, runs in training mode.

        Returns:
            Gates that broadcast against the feature map, rounded to the layer's compute dtype. The
            docstring of each layer gives their shape.

        Raises:
            TypeError: if `inputs` is symbolic. No layer of a graph of gates would own the weights,
                so the graph would lack them.
        """
        if isinstance(inputs, keras.KerasTensor):
            raise TypeError(
                "`attention` takes a tensor that holds values, such as the feature maps that a "
                f"model returns, or in `call` of a model of your own. Received: inputs={inputs}"
            )
        wide = self._widen(inputs)
        self._validate_rank(wide.shape)
        if not self.built:
            self.build(tuple(wide.shape))
        return keras.tree.map_structure(self._narrow, self._gates(wide, training))

    def _gates(self, inputs: Any, training: bool | None) -> Any:
        """Return the gates that the inputs are multiplied by."""
        if inputs.shape[0] == 0:
            # For an empty batch, TensorFlow has no maximum and, with oneDNN, no convolution. Batch
            # statistics are undefined.
            one = ops.zeros((1, *inputs.shape[1:]), inputs.dtype)
            return keras.tree.map_structure(_no_rows, self._attention(one, False))
        gates = self._attention(inputs, training)
        return gates if self._replace_gates is None else self._replace_gates(gates, inputs)

    def _attention(self, inputs: Any, training: bool | None) -> Any:
        """Return the gates for inputs of the gate dtype, in that dtype."""
        raise NotImplementedError

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        wide = self._widen(inputs)
        return self._narrow(wide * self._gates(wide, training))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "gate_activation": keras.activations.serialize(self.gate_activation),
            "identity_init": self.identity_init,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "data_format": self.data_format,
        }

    def _validate_rank(self, input_shape: Any) -> None:
        if len(input_shape) != 4:
            raise ValueError(
                f"Inputs to {type(self).__name__} must be of rank 4, {AXES[self.data_format]} for "
                f"data_format={self.data_format!r}. Received: input_shape={tuple(input_shape)}"
            )

    def _channels(self, input_shape: Any) -> int:
        """Return the number of channels, and require it of all further inputs."""
        channels = input_shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                f"The channel dimension of the inputs to {type(self).__name__} must be defined, "
                f"{AXES[self.data_format]} for data_format={self.data_format!r}. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={self.channel_axis: channels})
        return channels

    def _widen(self, inputs: Any) -> Any:
        inputs = ops.convert_to_tensor(inputs, dtype=self.compute_dtype)
        return ops.cast(inputs, self.gate_dtype)

    def _narrow(self, x: Any) -> Any:
        return None if x is None else ops.cast(x, self.compute_dtype)

    def _gate(self, logits: Any) -> Any:
        gates = self.gate_activation(logits)
        return 2 * gates if self.identity_init else gates

    def _conv(
        self,
        name: str,
        channels: int,
        filters: int,
        kernel_size: int = 1,
        *,
        dilation: int = 1,
        use_bias: bool = True,
        zero: bool = False,
    ) -> Any:
        """Return a built convolution of the gate. With `zero`, its weights start at zero."""
        kind = Pointwise if kernel_size == 1 else keras.layers.Conv2D
        layer = kind(
            filters,
            kernel_size,
            padding="same",
            dilation_rate=dilation,
            use_bias=use_bias,
            kernel_initializer="zeros" if zero else fresh(self.kernel_initializer),
            bias_initializer="zeros" if zero else fresh(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            data_format="channels_last",
            dtype=self.gate_dtype,
            name=name,
        )
        layer.build((None, None, None, channels))
        return layer

    def _batch_norm(self, name: str, channels: int, **settings: Any) -> Any:
        layer = keras.layers.BatchNormalization(dtype=self.gate_dtype, name=name, **settings)
        layer.build((None, None, None, channels))
        return layer

    def _to_channels_last(self, x: Any) -> Any:
        return x if self.data_format == "channels_last" else ops.transpose(x, (0, 2, 3, 1))

    def _from_channels_last(self, x: Any) -> Any:
        return x if self.data_format == "channels_last" else ops.transpose(x, (0, 3, 1, 2))


@keras.saving.register_keras_serializable(package="keras_cbam")
class Pointwise(keras.layers.Conv2D):
    """A 1x1 convolution of a gate, computed as a matrix product in training.

    XLA calls a library routine for each convolution. On a pooled map, the call costs more than the
    multiplications, while XLA compiles a matrix product. Outside training, the layer stays a
    convolution, for which converters add no reshapes. The input is `channels_last`. There are no
    strides and no activation.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return super().call(inputs)
        outputs = ops.matmul(inputs, ops.squeeze(self.kernel, (0, 1)))
        # On PyTorch, Keras's own matrix product of float64 tensors is float32.
        outputs = ops.cast(outputs, self.compute_dtype)
        return outputs + self.bias if self.use_bias else outputs


def _no_rows(x: Any) -> Any:
    return None if x is None else x[:0]


def hidden_channels(channels: int, reduction_ratio: int) -> int:
    """Return the width of a bottleneck: `C // r` as in the authors' code, but at least 1."""
    return max(channels // reduction_ratio, 1)


def fresh(initializer: Any) -> Any:
    """Return a copy of an initializer. A Keras initializer that is used twice repeats its values.

    The copy draws new values, unless it is seeded.
    """
    return initializer.clone() if isinstance(initializer, keras.Initializer) else initializer
