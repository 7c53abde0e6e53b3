"""Every builder of keras.applications: attention where it belongs, nothing lost, the way back."""

from typing import NamedTuple

import keras
import pytest

from keras_cbam import attach_attention, attention_points
from tests.backend import BACKEND, quick
from tests.drawn import example, vary
from tests.surgery.proof import (
    assert_agree,
    assert_nothing_lost,
    assert_varies,
    attached_layers,
    call,
)

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")


class Expected(NamedTuple):
    """Where the attention of a network belongs, worked from its architecture.

    Attributes:
        points: how many attention points it has.
        first: layer of the first one.
        last: layer of the last one.
        size: height and width of the test images; the smallest that leave more than one place.
    """

    points: int
    first: str
    last: str
    size: int = 64


# The network's own name stands before these.
CONVNEXT = ("stage_0_block_0_layer_scale", "stage_3_block_2_layer_scale")

BUILDERS = {
    # One a block, after the layer scale of its residual branch: 3 + 3 + 9 + 3, 3 + 3 + 27 + 3.
    "ConvNeXtTiny": Expected(18, *CONVNEXT),
    "ConvNeXtSmall": Expected(36, *CONVNEXT),
    "ConvNeXtBase": Expected(36, *CONVNEXT),
    "ConvNeXtLarge": Expected(36, *CONVNEXT),
    "ConvNeXtXLarge": Expected(36, *CONVNEXT),
    # One at the end of each of the 4 dense blocks. Within one every layer reads all before it, so
    # that attention on each of its 6 to 48 concatenations would refine the same maps over and over.
    "DenseNet121": Expected(4, "conv2_block6_concat", "conv5_block16_concat"),
    "DenseNet169": Expected(4, "conv2_block6_concat", "conv5_block32_concat"),
    "DenseNet201": Expected(4, "conv2_block6_concat", "conv5_block32_concat"),
    # One an inverted bottleneck, with an addition or without: B0's 1 + 2 + 2 + 3 + 3 + 4 + 1, each
    # number scaled by the depth coefficient and rounded up.
    "EfficientNetB0": Expected(16, "block1a_project_bn", "block7a_project_bn"),
    "EfficientNetB1": Expected(23, "block1a_project_bn", "block7b_project_bn"),
    "EfficientNetB2": Expected(23, "block1a_project_bn", "block7b_project_bn"),
    "EfficientNetB3": Expected(26, "block1a_project_bn", "block7b_project_bn"),
    "EfficientNetB4": Expected(32, "block1a_project_bn", "block7b_project_bn"),
    "EfficientNetB5": Expected(39, "block1a_project_bn", "block7c_project_bn"),
    "EfficientNetB6": Expected(45, "block1a_project_bn", "block7c_project_bn"),
    "EfficientNetB7": Expected(55, "block1a_project_bn", "block7d_project_bn"),
    # The same; the first stage's fused blocks are a single convolution, with its activation. The
    # sums of the repeats: 1 + 2 + 2 + 3 + 5 + 8 for B0, 2 + 4 + 4 + 6 + 9 + 15 for S,
    # 3 + 5 + 5 + 7 + 14 + 18 + 5 for M, 4 + 7 + 7 + 10 + 19 + 25 + 7 for L.
    "EfficientNetV2B0": Expected(21, "block1a_project_activation", "block6h_project_bn"),
    "EfficientNetV2B1": Expected(27, "block1a_project_activation", "block6i_project_bn"),
    "EfficientNetV2B2": Expected(28, "block1a_project_activation", "block6j_project_bn"),
    "EfficientNetV2B3": Expected(32, "block1a_project_activation", "block6l_project_bn"),
    "EfficientNetV2S": Expected(40, "block1a_project_activation", "block6o_project_bn"),
    "EfficientNetV2M": Expected(57, "block1a_project_activation", "block7e_project_bn"),
    "EfficientNetV2L": Expected(79, "block1a_project_activation", "block7g_project_bn"),
    # One at the end of the residual branch of each of the 10 + 20 + 10 Inception-ResNet blocks; the
    # three blocks between, which have no residual, are its stem and its reductions.
    "InceptionResNetV2": Expected(40, "block35_1_conv", "block8_10_conv", 75),
    # One at the end of each of the 11 Inception modules, after its concatenation.
    "InceptionV3": Expected(11, "mixed0", "mixed10", 75),
    # After each of the 13 depthwise and 13 pointwise stages: only so do the paper's parameters come
    # out.
    "MobileNet": Expected(26, "conv_dw_1_relu", "conv_pw_13_relu"),
    # One an inverted bottleneck: 1 + 2 + 3 + 4 + 3 + 3 + 1; 15 and 11 by the tables of V3.
    "MobileNetV2": Expected(17, "expanded_conv_project_BN", "block_16_project_BN"),
    "MobileNetV3Large": Expected(15, "expanded_conv_project_bn", "expanded_conv_14_project_bn"),
    "MobileNetV3Small": Expected(11, "expanded_conv_project_bn", "expanded_conv_10_project_bn"),
    # One at the end of each cell, after its concatenation: 2 in the stem, 3 times N, N = 4 and 6,
    # and 2 reductions between. The additions within a cell join branches that have no shortcut.
    "NASNetMobile": Expected(16, "reduction_concat_stem_1", "normal_concat_12"),
    "NASNetLarge": Expected(22, "reduction_concat_stem_1", "normal_concat_18"),
    # One a bottleneck: 3 + 4 + 6 + 3, 3 + 4 + 23 + 3, 3 + 8 + 36 + 3. V2 ends its branch with a
    # convolution, since it normalizes first.
    "ResNet50": Expected(16, "conv2_block1_3_bn", "conv5_block3_3_bn"),
    "ResNet101": Expected(33, "conv2_block1_3_bn", "conv5_block3_3_bn"),
    "ResNet152": Expected(50, "conv2_block1_3_bn", "conv5_block3_3_bn"),
    "ResNet50V2": Expected(16, "conv2_block1_3_conv", "conv5_block3_3_conv"),
    "ResNet101V2": Expected(33, "conv2_block1_3_conv", "conv5_block3_3_conv"),
    "ResNet152V2": Expected(50, "conv2_block1_3_conv", "conv5_block3_3_conv"),
    # One at the end of each of the 5 blocks, before it is pooled.
    "VGG16": Expected(5, "block1_conv2", "block5_conv3"),
    "VGG19": Expected(5, "block1_conv2", "block5_conv4"),
    # One at the end of the residual branch of each of the 12 modules that have a shortcut: 3 of the
    # entry flow, 8 of the middle and 1 of the exit.
    "Xception": Expected(12, "block2_pool", "block13_pool", 75),
}

# The smallest network of each slow family. These are called eagerly, not compiled and saved.
LONGEST = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "NASNetMobile",
    "ResNet50V2",
    "Xception",
)
# Families that Keras builds for channels_last alone.
LAST_ONLY = ("ConvNeXt", "DenseNet", "NASNet")


def builders():
    """The names of all builders of the installed Keras."""
    names = [name for name in dir(keras.applications) if name[0].isupper()]
    return [name for name in names if callable(getattr(keras.applications, name))]


def build(name, **arguments):
    builder = getattr(keras.applications, name)
    size = BUILDERS[name].size
    defaults = {"weights": None, "include_top": False, "input_shape": (size, size, 3)}
    return builder(**{**defaults, **arguments})


def assert_expected_points(name, model):
    """Assert that the points of `model` are those of the table, and return them."""
    expected = BUILDERS[name]
    points = attention_points(model)
    assert len(points) == expected.points
    assert points[0].layer.endswith(expected.first)
    assert points[-1].layer.endswith(expected.last)
    assert [p.stage for p in points] == sorted(p.stage for p in points)
    assert all(p.shape == model.get_layer(p.layer).output.shape for p in points)
    return points


def test_every_builder_is_in_the_table():
    assert set(BUILDERS) == set(builders())


@pytest.mark.parametrize("name", quick(builders(), {"MobileNetV2", "VGG16"}))
def test_nothing_is_lost(name, rng, tmp_path):
    model = vary(build(name, pooling="avg"))
    points = assert_expected_points(name, model)
    attached = assert_nothing_lost(model, example(model, rng), tmp_path)
    assert len(attached_layers(attached)) == len(points)
    assert attention_points(attached) == points


@pytest.mark.parametrize("name", quick(LONGEST, {"ConvNeXtTiny", "ResNet50V2"}))
def test_nothing_is_lost_eagerly(name, rng):
    model = vary(build(name, pooling="avg"))
    assert_expected_points(name, model)
    images = example(model, rng)
    expected = call(model, images)
    assert_varies(expected)
    assert_agree(call(attach_attention(model), images), expected)


@pytest.mark.parametrize("name", quick(builders(), {"MobileNetV3Small", "ResNet50", "VGG16"}))
def test_top_changes_no_point(name):
    assert_expected_points(name, build(name, include_top=True, classes=10))


def convolves_channels_first():
    """Whether the backend can; TensorFlow uses oneDNN, which can, by itself with VNNI only."""
    image, kernel = keras.ops.zeros((1, 1, 3, 3)), keras.ops.zeros((1, 1, 1, 1))
    try:
        keras.ops.conv(image, kernel, data_format="channels_first")
    except Exception as error:
        if "NHWC" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize("name", quick(builders(), {"DenseNet121", "ResNet50"}))
def test_channels_first(name, rng):
    size = BUILDERS[name].size
    keras.config.set_image_data_format("channels_first")
    try:
        if name.startswith(LAST_ONLY):
            with pytest.raises(ValueError, match="does not support the `channels_first`"):
                build(name, input_shape=(3, size, size))
            return
        model = build(name, input_shape=(3, size, size), pooling="avg")
    finally:
        keras.config.set_image_data_format("channels_last")
    if not convolves_channels_first():
        pytest.skip("TensorFlow needs TF_ENABLE_ONEDNN_OPTS=1 for channels_first on this processor")
    vary(model)
    assert_expected_points(name, model)
    images = example(model, rng)
    expected = call(model, images)
    assert_varies(expected)
    assert_agree(call(attach_attention(model), images), expected)


@pytest.mark.parametrize(
    ("pooling", "shape"),
    [
        (None, (None, None, 3)),
        pytest.param("avg", (96, 64, 3), marks=pytest.mark.slow),
        ("max", (75, 101, 1)),
    ],
)
def test_any_pooling_and_shape(pooling, shape, rng):
    model = vary(build("MobileNetV2", input_shape=shape, pooling=pooling, alpha=0.35))
    assert_expected_points("MobileNetV2", model)
    images = example(model, rng)
    expected = call(model, images)
    assert_varies(expected)
    assert_agree(call(attach_attention(model), images), expected)
