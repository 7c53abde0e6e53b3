"""Maps of every attention layer are its gates, spatial ones at the size of the image."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.surgery.gates import attention_gates
from keras_cbam.visualize import attention_maps
from tests.visualize.reference import bilinear

pytestmark = pytest.mark.backends

# Classes and arguments: the layers themselves belong to one model.
ATTENTIONS = {
    "cbam": (CBAM, {}),
    "parallel": (CBAM, {"order": "parallel"}),
    "channel": (ChannelAttention, {}),
    "spatial": (SpatialAttention, {}),
    "half": (CBAM, {"order": "spatial"}),
    "se": (SqueezeExcite, {}),
    "bam": (BAM, {}),
}
SPATIAL = {"cbam", "parallel", "spatial", "half", "bam"}
CHANNEL = {"cbam", "parallel", "channel", "se", "bam"}


@pytest.fixture(scope="module")
def body():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 8, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same")(inputs)
    attentions = [cls(name=name, **options) for name, (cls, options) in ATTENTIONS.items()]
    refined = layers.add([attention(x) for attention in attentions])
    model = keras.Model(inputs, refined, name="body")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "variance" not in weight.path:
            weight.assign_add(rng.normal(0, 0.4, weight.shape))
    return model


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).normal(0, 3, (5, 12, 8, 3)).astype("float32")


def test_they_are_the_gates(body, pixels):
    found = attention_maps(body, pixels, batch_size=2)
    gates = attention_gates(body, pixels)
    assert set(found) == set(gates) == set(ATTENTIONS)
    for name, each in found.items():
        assert each.shape == (6, 4)
        assert (each.spatial is not None) == (name in SPATIAL)
        assert (each.channel is not None) == (name in CHANNEL)
        if name in SPATIAL:
            expected = gates[name][-1].mean(-1)
            assert np.ptp(expected) > 1e-3
            scaled = np.array([bilinear(gate.astype("float64"), (12, 8)) for gate in expected])
            np.testing.assert_allclose(each.spatial, scaled, atol=1e-5)
        if name in CHANNEL:
            np.testing.assert_allclose(each.channel, gates[name][0].mean((1, 2)), atol=1e-5)


def test_nested_models_and_the_model_itself(body, pixels):
    outer = keras.Sequential([keras.Input((12, 8, 3)), body, layers.GlobalAveragePooling2D()])
    nodes = [len(layer._inbound_nodes) for layer in body.layers]
    found = attention_maps(outer, pixels)
    assert set(found) == {f"body/{name}" for name in ATTENTIONS}
    assert nodes == [len(layer._inbound_nodes) for layer in body.layers]
    inner = attention_maps(body, pixels)
    for name in ATTENTIONS:
        for one, other in zip(found[f"body/{name}"], inner[name], strict=True):
            if one is not None:
                np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_map_of_one_place(pixels):
    inputs = keras.Input((12, 8, 3))
    x = CBAM(name="cbam")(inputs=layers.GlobalAveragePooling2D(keepdims=True)(inputs))
    found = attention_maps(keras.Model(inputs, SpatialAttention(name="lone")(x)), pixels)
    assert found["cbam"].channel.shape == (5, 3)
    assert found["cbam"].spatial.shape == found["lone"].spatial.shape == (5, 12, 8)
    assert found["lone"].channel is None


def test_a_model_without_attention_has_none(pixels):
    inputs = keras.Input((12, 8, 3))
    assert attention_maps(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)), pixels) == {}


def test_no_images_are_refused(body, pixels):
    with pytest.raises(ValueError, match="Expected images"):
        attention_maps(body, pixels[:0])
