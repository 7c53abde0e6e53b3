"""KerasHub's functional image backbones: nothing lost, the feature pyramid kept."""

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, attach_attention, attention_points, detach_attention
from tests.backend import BACKEND, quick
from tests.drawn import example, vary
from tests.surgery.proof import assert_agree, assert_nothing_lost, assert_varies, call

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="bits are compared in TensorFlow")

keras_hub = pytest.importorskip("keras_hub", reason="needs the extra `detection`")

SHAPE = (64, 64, 3)
RESNET = {
    "image_shape": SHAPE,
    "input_conv_filters": [16],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 32, 64],
    "stackwise_num_blocks": [2, 2, 2],
    "stackwise_num_strides": [1, 2, 2],
    "block_type": "bottleneck_block",
}
CSP = {
    "image_shape": SHAPE,
    "stem_filters": 16,
    "stem_kernel_size": 3,
    "stem_strides": 2,
    "stackwise_depth": [1, 2, 2],
    "stackwise_strides": [1, 2, 2],
    "stackwise_num_filters": [16, 32, 64],
}
EFFICIENT = {
    "image_shape": SHAPE,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "stackwise_kernel_sizes": [3, 3, 5],
    "stackwise_num_repeats": [1, 2, 2],
    "stackwise_input_filters": [16, 16, 24],
    "stackwise_output_filters": [16, 24, 32],
    "stackwise_expansion_ratios": [1, 4, 4],
    "stackwise_strides": [1, 2, 2],
    "stackwise_squeeze_and_excite_ratios": [0.25, 0.25, 0.25],
    "stackwise_block_types": ["v1", "v1", "v1"],
}
# Its blocks are one layer each.
EFFICIENT_V2 = {
    **EFFICIENT,
    "stackwise_squeeze_and_excite_ratios": [0, 0, 0.25],
    "stackwise_block_types": ["fused", "fused", "unfused"],
}
MOBILE = {
    "image_shape": SHAPE,
    "stackwise_expansion": [[40, 56], [64, 144]],
    "stackwise_num_blocks": [2, 2],
    "stackwise_num_filters": [[16, 16], [24, 24]],
    "stackwise_kernel_size": [[3, 3], [5, 5]],
    "stackwise_num_strides": [[2, 1], [2, 1]],
    "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
    "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1, 1], [2, 2]],
    "output_num_filters": 32,
    "input_activation": "hard_swish",
    "output_activation": "hard_swish",
    "input_num_filters": 16,
    "depthwise_filters": 16,
    "depthwise_stride": 1,
    "depthwise_residual": True,
    "last_layer_filter": 32,
}

# The builder, its arguments, and how many points: one a block, for VGG one before each pooling.
BACKBONES = {
    "ResNet": ("ResNetBackbone", RESNET, 2 + 2 + 2),
    "ResNetV2": ("ResNetBackbone", {**RESNET, "use_pre_activation": True}, 2 + 2 + 2),
    "ResNet vd": ("ResNetBackbone", {**RESNET, "block_type": "bottleneck_block_vd"}, 2 + 2 + 2),
    "DenseNet": ("DenseNetBackbone", {"image_shape": SHAPE, "stackwise_num_repeats": [2, 3, 2]}, 3),
    "VGG": (
        "VGGBackbone",
        {
            "image_shape": SHAPE,
            "stackwise_num_repeats": [2, 2, 3],
            "stackwise_num_filters": [16, 32, 64],
        },
        3,
    ),
    "CSPDarkNet": (
        "CSPNetBackbone",
        {**CSP, "stage_type": "csp", "block_type": "dark_block"}
        | {"bottle_ratio": [0.5, 1, 1], "block_ratio": [1, 0.5, 0.5], "expand_ratio": [2, 1, 1]},
        1 + 2 + 2,
    ),
    "EfficientNet": ("EfficientNetBackbone", EFFICIENT, 1 + 2 + 2),
    "EfficientNetV2": ("EfficientNetBackbone", EFFICIENT_V2, 1 + 2 + 2),
    # The first is the residual of its depthwise stem.
    "MobileNet": ("MobileNetBackbone", MOBILE, 1 + 2 + 2),
}
# Those that KerasHub gives no pyramid.
WITHOUT_PYRAMID = {"MobileNet", "VGG"}


def build(name):
    builder, arguments, _ = BACKBONES[name]
    return vary(getattr(keras_hub.models, builder)(**arguments))


def pyramid(model, images):
    """The outputs and the feature pyramid of a backbone."""
    levels = model.pyramid_outputs
    probe = keras.Model(model.input, {"output": model.output, **levels})
    return call(probe, images)


@pytest.mark.parametrize("name", quick(BACKBONES, {"DenseNet", "EfficientNetV2", "VGG"}))
def test_nothing_is_lost(name, rng, tmp_path):
    model = build(name)
    points = attention_points(model)
    assert len(points) == BACKBONES[name][2]
    images = example(model, rng)
    attached = assert_nothing_lost(model, images, tmp_path)
    assert attention_points(attached) == points
    assert hasattr(model, "pyramid_outputs") == (name not in WITHOUT_PYRAMID)
    if name in WITHOUT_PYRAMID:
        return
    expected = pyramid(model, images)
    assert_varies(expected)
    assert list(attached.pyramid_outputs) == list(model.pyramid_outputs)
    loaded = keras.models.load_model(tmp_path / "attached.keras")
    for network in (attached, loaded, detach_attention(loaded)):
        assert_agree(pyramid(network, images), expected)


def test_pyramid_reads_the_refined_maps(rng):
    """A level of the pyramid follows the attention that stands before it."""
    model = build("ResNet")
    images = example(model, rng)
    attached = attach_attention(model, identity_init=False)
    for refined, plain in zip(pyramid(attached, images), pyramid(model, images), strict=True):
        assert np.abs(refined - plain).max() > 0.1


@pytest.mark.parametrize("name", ["EfficientNetV2", "MobileNet"])
def test_attention_stands_inside_blocks(name):
    """Before a block's addition, where one cannot reach while the block is one layer."""
    attached = attach_attention(build(name))
    blocks = [layer for layer in attached.layers if isinstance(layer, keras.Model)]
    inner = [layer for block in blocks for layer in block.layers if isinstance(layer, CBAM)]
    assert len(inner) == BACKBONES[name][2]


@pytest.mark.parametrize("name", ["EfficientNetV2", "MobileNet"])
def test_a_frozen_backbone_stays_frozen(name):
    model = build(name)
    model.trainable = False
    assert not detach_attention(attach_attention(model)).trainable_variables


def test_dropout_inside_blocks_still_drops():
    model = vary(keras_hub.models.EfficientNetBackbone(**EFFICIENT_V2, dropout=0.5))
    attached = attach_attention(model)
    images = example(model, np.random.default_rng(0))
    for network in (model, attached):
        network.trainable = False  # Normalization as in inference, so that dropout alone differs.
        answers = [network(images, training=training) for training in (False, True, True)]
        plain, first, second = (keras.ops.convert_to_numpy(answer) for answer in answers)
        assert np.abs(first - plain).max() > 1e-2
        assert np.abs(first - second).max() > 1e-2


def test_retina_net_takes_the_attached_backbone(rng):
    arguments = {**RESNET, "stackwise_num_filters": [64, 32, 64, 64]}
    arguments |= {"stackwise_num_blocks": [1] * 4, "stackwise_num_strides": [1, 2, 2, 2]}
    model = vary(keras_hub.models.ResNetBackbone(**arguments))
    images = example(model, rng)

    def detector_backbone(encoder):
        keras.utils.set_random_seed(0)
        return keras_hub.models.RetinaNetBackbone(
            image_encoder=encoder, min_level=3, max_level=5, use_p5=False
        )

    expected = call(detector_backbone(model), images)
    assert_varies(expected)
    assert_agree(call(detector_backbone(attach_attention(model)), images), expected)
