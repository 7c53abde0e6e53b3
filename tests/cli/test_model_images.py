"""Folders of images for an export: of the height, width and channels that a model takes."""

import keras
import numpy as np
import pytest

from keras_cbam.cli.model_images import calibration_pixels, verification_pixels
from keras_cbam.errors import InputError
from tests.backend import BACKEND
from tests.drawn import write_images

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the command runs one backend")


def network(*shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Flatten()(inputs))


def test_gray_and_oblong_models_get_their_images(tmp_path):
    write_images(tmp_path, np.random.default_rng(0), count=3)
    for shape in ((12, 20, 1), (12, 20, 3), (16, 16, 1)):
        pixels, labels = verification_pixels(tmp_path, network(*shape), ["blue", "red"])
        assert pixels.shape == (6, *shape)
        assert list(labels) == [0, 0, 0, 1, 1, 1]
        assert np.ptp(pixels) > 50
        assert calibration_pixels(tmp_path, network(*shape), 4).shape == (4, *shape)


def test_other_models_are_refused_before_images_are_read(tmp_path):
    for shape in ((12, 20, 4), (None, None, 3), (7,)):
        with pytest.raises(InputError, match="Expected a model of one image"):
            verification_pixels(tmp_path / "missing", network(*shape), None)
        with pytest.raises(InputError, match="Expected a model of one image"):
            calibration_pixels(tmp_path / "missing", network(*shape), 4)
