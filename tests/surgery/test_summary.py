"""summarize_parameters and added_parameters: counted by hand, and as Keras counts."""

import keras
import pytest

from keras_cbam import attach_attention, attention_points, freeze_backbone, summarize_parameters
from keras_cbam.surgery import AddedParameters, added_parameters
from tests.surgery.graphs import GRAPHS

# CBAM on 24 channels: 24 // 16 = 1 hidden unit with 24 + 1 and 24 + 24 numbers, a 7x7 kernel over
# 2 maps, and batch normalization with 2 numbers that train and 2 statistics.
CBAM_24 = 25 + 48 + 98 + 2


def test_kinds_are_counted_by_hand(small):
    attached = attach_attention(small)
    freeze_backbone(attached, head=["scores"])
    convolutions = (27 + 1) * 16 + (144 + 1) * 24 + (16 + 1) * 24 + 3 * (216 + 1) * 24
    expected = {
        "attention": (2, 2 * (CBAM_24 + 2), 2 * CBAM_24),
        "convolution": (6, convolutions, 0),
        "normalization": (4, 4 * 96, 0),
        "dense": (1, 125, 125),
    }
    counts = summarize_parameters(attached)
    assert {count.kind: tuple(count[1:]) for count in counts[:-1]} == expected
    total = counts[-1]
    assert total.kind == "total"
    assert total.parameters == attached.count_params()
    assert total.trainable == 2 * CBAM_24 + 125


def test_shared_and_nested_layers_are_counted_once():
    for name in ("shared_layers", "nested_twice", "siamese", "unet"):
        attached = attach_attention(GRAPHS[name].build())
        assert summarize_parameters(attached)[-1].parameters == attached.count_params()


def test_model_without_parameters():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.ReLU()(inputs))
    assert summarize_parameters(model) == (("total", 0, 0, 0),)


@pytest.mark.parametrize("name", ["nested_twice", "shared_layers", "unet"])
@pytest.mark.parametrize("attention", ["cbam", "se", "bam", "channel", "spatial"])
def test_added_parameters_are_those_that_attaching_adds(name, attention):
    model = GRAPHS[name].build()
    added = added_parameters(model, attention)
    attached = attach_attention(model, attention)
    assert sum(row.parameters for row in added) == attached.count_params() - model.count_params()


def test_added_parameters_by_hand(small):
    points = attention_points(small)
    expected = tuple(AddedParameters(point, CBAM_24 + 2, CBAM_24) for point in points)
    assert added_parameters(small) == expected
    assert added_parameters(small, points=["b_bn2"]) == expected[1:]
