"""Transfer study: a bottleneck without a gate, with about as many parameters as CBAM.

It takes the place of attention, to separate the effect of gates from that of more parameters.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.layers import CBAM
from keras_cbam.layers.base import Refinement
from keras_cbam.surgery.points import AttentionPoint


@keras.saving.register_keras_serializable(package="keras_cbam")
class Bottleneck(Refinement):
    """Adds a bottleneck of 1x1 convolutions to its input: `x + up(relu(down(x)))`.

    It starts as the identity, since the last kernel starts at zero. It trains like attention:
    together with the head in the first phase, and at the same learning rates.

    Args:
        filters: number of channels of the bottleneck.
        **kwargs: `name`, `dtype` and `trainable`, as for any Keras layer.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        The shape of the input.

    Source: the residual adapters of [Rebuffi et al.](https://arxiv.org/abs/1705.08045), with the
    bottleneck of [Houlsby et al.](https://arxiv.org/abs/1902.00751).
    """

    def __init__(self, filters: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape: Any) -> None:
        channels = input_shape[-1]
        shared: dict[str, Any] = {"data_format": "channels_last", "dtype": self.dtype_policy}
        self.down = keras.layers.Conv2D(self.filters, 1, activation="relu", name="down", **shared)
        self.up = keras.layers.Conv2D(channels, 1, kernel_initializer="zeros", name="up", **shared)
        self.down.build(input_shape)
        self.up.build(self.down.compute_output_shape(input_shape))

    def call(self, inputs: Any) -> Any:
        return inputs + self.up(self.down(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters}


def bottleneck(point: AttentionPoint) -> keras.layers.Layer:
    """Return a bottleneck for a point, with about as many parameters as CBAM has there."""
    channels = int(point.shape[-1] or 0)
    attention = CBAM(dtype="float32", data_format="channels_last")
    attention.build((None, None, None, channels))
    trained = sum(int(keras.ops.size(weight)) for weight in attention.trainable_weights)
    # A bottleneck with f filters on C channels has f (2 C + 1) + C parameters.
    filters = max(round((trained - channels) / (2 * channels + 1)), 1)
    return Bottleneck(filters, name=f"{point.layer}_bottleneck")
