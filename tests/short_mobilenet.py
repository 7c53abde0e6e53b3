"""A MobileNet with one block at each stride, or fewer: a backbone that compiles fast."""

import contextlib
from functools import partial

import keras
import pytest

# It begins with MobileNet, so that it gets MobileNet's pixel rule.
SHORT = "MobileNetShort"


def build(input_tensor, alpha, include_top, weights, blocks=4):
    def step(x, layer, name):
        x = layer(use_bias=False, padding="same", name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)

    depthwise = partial(keras.layers.DepthwiseConv2D, 3, strides=2)
    x = step(input_tensor, partial(keras.layers.Conv2D, int(32 * alpha), 3, strides=2), "conv1")
    for block, filters in enumerate((64, 128, 256, 512)[:blocks], 1):
        x = step(x, depthwise, f"conv_dw_{block}")
        pointwise = partial(keras.layers.Conv2D, int(filters * alpha), 1)
        x = step(x, pointwise, f"conv_pw_{block}")
    (inputs,) = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(inputs, x, name="mobilenet_short")


@contextlib.contextmanager
def short_mobilenet_is_known():
    """Lets `SHORT` name a backbone here, and nowhere else: other tests go over all backbones."""
    from keras_cbam.training import backbones

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras.applications, SHORT, build, raising=False)
        patched.setattr(backbones, "BACKBONES", (*backbones.BACKBONES, SHORT))
        yield
