"""Pixel rules by name, applied to arrays."""

import sys

import keras
import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.pixels import PIXEL_RULES, named_rule, preprocessed

FAMILIES = ["ResNet50", "ResNet50V2", "MobileNetV2", "MobileNetV3Small", "DenseNet121", "VGG16"]


@pytest.mark.parametrize("builder", FAMILIES)
def test_arrays_are_preprocessed_as_keras_does(builder, rng):
    pixels = rng.uniform(0, 255, (2, 4, 5, 3)).astype("float32")
    module = sys.modules[getattr(keras.applications, builder).__module__]
    expected = module.preprocess_input(pixels.copy(), data_format="channels_last")
    assert np.allclose(preprocessed(pixels, builder), expected, atol=1e-4)


def test_names():
    assert named_rule("caffe") == named_rule("ResNet50") == PIXEL_RULES["caffe"]
    assert named_rule("inside") is None
    with pytest.raises(InputError, match=r"backbone AlexNet is not known.*caffe"):
        named_rule("AlexNet")
