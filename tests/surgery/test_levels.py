"""A backbone's feature pyramid, found from its graph."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import CBAM, attach_attention
from keras_cbam.surgery import feature_pyramid
from tests.backend import BACKEND, quick
from tests.drawn import example, vary
from tests.surgery.proof import assert_agree, assert_varies, call

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are the same everywhere")

# Where Keras's papers and code have the last map of each resolution: 8, 16 and 32 pixels.
LEVELS = {
    "MobileNetV2": ("block_5_add", "block_12_add", "out_relu"),
    "MobileNet": ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"),
    "ResNet50": ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    # Its stages end with the stride, in their last block.
    "ResNet50V2": ("conv3_block3_out", "conv4_block5_out", "post_relu"),
    "EfficientNetV2B0": ("block3b_add", "block5e_add", "top_activation"),
    "VGG16": ("block4_conv3", "block5_conv3", "block5_pool"),
}
# Attention stands at the very end of their blocks.
REFINED = {"MobileNet", "VGG16"}


def source(tensor):
    return tensor._keras_history.operation.name


@pytest.mark.parametrize("name", quick(LEVELS, {"MobileNetV2", "ResNet50V2", "VGG16"}))
def test_levels_are_the_ends_of_stages(name):
    builder = getattr(keras.applications, name)
    backbone = builder(weights=None, include_top=False, input_shape=(64, 64, 3))
    pyramid = feature_pyramid(backbone).pyramid_outputs
    assert list(pyramid) == ["P3", "P4", "P5"]
    assert tuple(map(source, pyramid.values())) == LEVELS[name]
    assert [tensor.shape[1] for tensor in pyramid.values()] == [8, 4, 2]
    attached = feature_pyramid(attach_attention(backbone)).pyramid_outputs
    refined = [source(tensor) for tensor in attached.values()]
    for found, plain in zip(refined, LEVELS[name], strict=True):
        followed = name in REFINED and plain != "block5_pool"
        assert found == (f"{plain}_cbam" if followed else plain)


def small(strides=(2, 2, 2, 2, 2)):
    """A plain network: a convolution at each resolution, then one more."""
    x = inputs = keras.Input((64, 64, 3))
    for index, stride in enumerate(strides):
        for part in range(2):
            step = stride if part == 0 else 1
            x = layers.Conv2D(8, 3, step, padding="same", name=f"conv{index}_{part}")(x)
            x = layers.ReLU(name=f"relu{index}_{part}")(x)
    return keras.Model(inputs, x, name="small")


def test_levels_are_refined(rng):
    """The maps of a pyramid are those after attention, and the outputs stay the model's own."""
    backbone = vary(attach_attention(small(), identity_init=False))
    pyramid = feature_pyramid(backbone, (2, 3))
    images = example(backbone, rng)
    assert_agree(call(pyramid, images), call(backbone, images))
    maps = pyramid.pyramid_outputs
    assert [source(tensor) for tensor in maps.values()] == ["relu1_1_cbam", "relu2_1_cbam"]
    found = call(keras.Model(pyramid.input, maps), images)
    assert_varies(found)
    layer = backbone.get_layer("relu2_1_cbam")
    assert isinstance(layer, CBAM)
    expected = call(keras.Model(backbone.input, layer.output), images)
    np.testing.assert_array_equal(found[1], expected[0])


def test_a_pyramid_is_saved_and_attached_to(rng, tmp_path):
    pyramid = vary(feature_pyramid(small()))
    assert feature_pyramid(pyramid) is pyramid
    images = example(pyramid, rng)
    expected = call(keras.Model(pyramid.input, pyramid.pyramid_outputs), images)
    assert_varies(expected)
    pyramid.save(tmp_path / "pyramid.keras")
    loaded = keras.saving.load_model(tmp_path / "pyramid.keras")
    attached = attach_attention(pyramid)
    for network in (loaded, attached):
        assert_agree(call(keras.Model(network.input, network.pyramid_outputs), images), expected)


def test_what_has_no_pyramid():
    with pytest.raises(
        ValueError, match=r"levels \[3, 4, 5\].* Model small has levels \[1, 2, 3\]"
    ):
        feature_pyramid(small((2, 2, 2)))
    inputs = keras.Input((64, 64, 3))
    nested = keras.Model(inputs, small()(inputs))
    with pytest.raises(ValueError, match="inside a nested model"):
        feature_pyramid(nested)
    with pytest.raises(TypeError, match="whose layers and connections can be seen"):
        feature_pyramid(keras.Sequential([layers.Conv2D(8, 3)]))
