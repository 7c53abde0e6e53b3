"""CBAM as it is mostly written: the rival of `benchmarks/cbam_tax.py`.

Separate pools, a Dense MLP applied to each, ReduceMean and ReduceMax over the channels into one
convolution, two multiplications. Gates are doubled, as those of attention that started as the
identity are, so that the numbers are those of `keras_cbam.CBAM` with the same weights.
"""

import keras
import numpy as np
from keras import ops

from keras_cbam import CBAM


class PlainCBAM(keras.layers.Layer):
    """The plain formulation, for `(batch, height, width, channels)`."""

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = max(channels // 16, 1)
        self.squeeze = keras.layers.Dense(hidden, activation="relu", name="squeeze")
        self.squeeze.build((None, channels))
        self.excite = keras.layers.Dense(channels, name="excite")
        self.excite.build((None, hidden))
        self.conv = keras.layers.Conv2D(1, 7, padding="same", use_bias=False, name="conv")
        self.conv.build((None, None, None, 2))
        self.norm = keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-5, name="norm")
        self.norm.build((None, None, None, 1))

    def call(self, x, training=None):
        average = self.excite(self.squeeze(ops.mean(x, axis=(1, 2))))
        largest = self.excite(self.squeeze(ops.max(x, axis=(1, 2))))
        gate = 2 * ops.sigmoid(average + largest)
        x = x * ops.reshape(gate, (-1, 1, 1, gate.shape[-1]))
        pooled = [ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)]
        logits = self.norm(self.conv(ops.concatenate(pooled, axis=-1)), training=training)
        return x * (2 * ops.sigmoid(logits))

    def compute_output_shape(self, input_shape):
        return input_shape

    def take(self, layer: CBAM) -> None:
        """Take over the weights of the package's layer."""
        channel, spatial = layer.channel_attention, layer.spatial_attention
        for mine, theirs in ((self.squeeze, channel.squeeze), (self.excite, channel.excite)):
            kernel, bias = theirs.get_weights()
            mine.set_weights([kernel[0, 0], bias])
        self.conv.set_weights([np.asarray(spatial.kernel)])
        self.norm.set_weights(spatial.batch_norm.get_weights())
