"""What every attention layer shares: data format, gate, and the multiplication by its gates."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

DATA_FORMATS = ("channels_last", "channels_first")

# The axes that bring a rank-4 tensor to channels_last and back again.
_TO_CHANNELS_LAST = {"channels_last": None, "channels_first": (0, 2, 3, 1)}
_FROM_CHANNELS_LAST = {"channels_last": None, "channels_first": (0, 3, 1, 2)}


class AttentionLayer(keras.layers.Layer):
    """Base of the attention layers: `call` multiplies the inputs by `attention(inputs)`.

    Convolutions inside a gate always run `channels_last`, whatever the data format of the feature
    map: TensorFlow has no `channels_first` convolution on a CPU, and what they read is a pooled
    vector or a two-channel map, so the transposition costs next to nothing.

    Args:
        gate_activation: name or callable, the function that turns logits into gates.
        identity_init: whether gates are `2 * gate_activation(logits)` with logits that start at
            exactly zero, so that the new layer returns its input bit for bit. The factor of 2 stays
            for the layer's life.
        data_format: `"channels_last"`, `"channels_first"`, or `None` for Keras's own default.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Raises:
        ValueError: on an unknown data format, or where `identity_init` is asked of a gate whose
            value at zero is not 0.5.
    """

    def __init__(
        self,
        gate_activation: Any = "sigmoid",
        identity_init: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.gate_activation = keras.activations.get(gate_activation)
        self.identity_init = identity_init
        self.data_format = data_format or keras.config.image_data_format()
        if self.data_format not in DATA_FORMATS:
            raise ValueError(
                f"Argument `data_format` must be one of {DATA_FORMATS} or None. "
                f"Received: data_format={data_format}"
            )
        if identity_init:
            at_zero = float(ops.convert_to_numpy(self.gate_activation(ops.zeros((1,))))[0])
            if at_zero != 0.5:
                raise ValueError(
                    "With `identity_init=True`, argument `gate_activation` must be 0.5 at zero, as "
                    "sigmoid and hard_sigmoid are. "
                    f"Received: gate_activation={gate_activation}, which is {at_zero} at zero"
                )
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in the feature map."""
        return -1 if self.data_format == "channels_last" else 1

    @property
    def spatial_axes(self) -> tuple[int, int]:
        """The axes of height and width in the feature map."""
        return (1, 2) if self.data_format == "channels_last" else (2, 3)

    def attention(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the gates that `call` multiplies the inputs by."""
        inputs = ops.convert_to_tensor(inputs, dtype=self.compute_dtype)
        if not self.built:
            self.build(tuple(inputs.shape))
        return self._attention(inputs, training)

    def _attention(self, inputs: Any, training: bool | None) -> Any:
        raise NotImplementedError

    def call(self, inputs, training=None):
        return inputs * self.attention(inputs, training=training)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "gate_activation": keras.activations.serialize(self.gate_activation),
            "identity_init": self.identity_init,
            "data_format": self.data_format,
        }

    def _channels(self, input_shape) -> int:
        channels = input_shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                f"The channel dimension of the inputs to {type(self).__name__} must be defined. "
                f"Received: input_shape={tuple(input_shape)} with data_format={self.data_format}"
            )
        return channels

    def _gate(self, logits):
        gates = self.gate_activation(logits)
        return 2 * gates if self.identity_init else gates

    def _to_channels_last(self, x):
        axes = _TO_CHANNELS_LAST[self.data_format]
        return x if axes is None else ops.transpose(x, axes)

    def _from_channels_last(self, x):
        axes = _FROM_CHANNELS_LAST[self.data_format]
        return x if axes is None else ops.transpose(x, axes)


def validate_pooling(pooling: Any, known: dict[str, Any]) -> tuple[str, ...]:
    """Return `pooling` as a tuple of names, each of them a key of `known`.

    Raises:
        ValueError: if it is empty or names a pool that is not in `known`.
    """
    names = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    if not names or any(name not in known for name in names):
        raise ValueError(
            f"Argument `pooling` must name one or more of {tuple(known)}. "
            f"Received: pooling={pooling}"
        )
    return names


def fresh_initializer(initializer: Any) -> Any:
    """Return a copy that draws anew: an unseeded Keras initializer repeats its draw when reused."""
    return initializer.clone() if isinstance(initializer, keras.Initializer) else initializer
