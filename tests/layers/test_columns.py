"""Convolutions of several columns at a time are the convolutions that they stand for."""

import itertools

import keras
import numpy as np
import pytest

from keras_cbam import SpatialAttention
from keras_cbam.layers.columns import COLUMNS, convolve_columns
from tests.backend import BACKEND
from tests.layers.reference import convolution

pytestmark = pytest.mark.backends

# Below, at and above a group of columns, and several groups.
WIDTHS = (1, COLUMNS - 1, COLUMNS, COLUMNS + 1, 3 * COLUMNS, 3 * COLUMNS + 2)


def test_it_is_the_convolution():
    rng = np.random.default_rng(0)
    for width, side, channels in itertools.product(WIDTHS, (1, 3, 7, 11), (1, 3)):
        x, kernel = (
            rng.normal(size=(2, 5, width, channels)),
            rng.normal(size=(side, side, channels, 1)),
        )
        expected = convolution(x, kernel)
        assert expected.std() > 0.1
        found = convolve_columns(*(keras.ops.convert_to_tensor(a, "float32") for a in (x, kernel)))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, atol=1e-4)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_training_has_the_gates_of_inference(data_format, monkeypatch):
    """Without batch statistics nothing but rounding differs."""
    calls = []
    monkeypatch.setattr(
        "keras_cbam.layers.spatial_attention.convolve_columns",
        lambda *args: calls.append(1) or convolve_columns(*args),
    )
    x = keras.random.normal((2, 13, 13, 13), seed=0)
    layer = SpatialAttention(use_batch_norm=False, data_format=data_format)
    trained, inferred = (layer.attention(x, training=each) for each in (True, False))
    assert len(calls) == 1
    trained, inferred = map(keras.ops.convert_to_numpy, (trained, inferred))
    assert np.std(inferred) > 0.01
    np.testing.assert_allclose(trained, inferred, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends know all sizes")
def test_a_map_of_unknown_width_is_trained_on_too():
    import tensorflow as tf

    layer = SpatialAttention(use_batch_norm=False)
    layer.build((None, None, None, 3))
    any_size = tf.TensorSpec((None, None, None, 3))
    trained = tf.function(lambda x: layer(x, training=True), input_signature=[any_size])
    x = np.random.default_rng(0).normal(size=(2, 6, 9, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(layer(x, training=False))
    assert expected.std() > 0.1
    np.testing.assert_allclose(trained(x), expected, atol=1e-5)
