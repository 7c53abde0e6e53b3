"""Maps of every attention layer are its gates, spatial ones at the size of the image."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.layers import AttentionLayer
from keras_cbam.surgery.gates import attention_gates
from keras_cbam.visualize import attention_maps
from tests.backend import quick_on
from tests.visualize.reference import bilinear

pytestmark = [pytest.mark.backends, quick_on("tensorflow", "torch")]

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


class Block(keras.layers.Layer):
    """A block that uses attention in its own `call`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.cbam = CBAM(name="cbam")

    def call(self, x):
        return x + self.cbam(x)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).normal(0, 3, (5, 12, 8, 3)).astype("float32")


def of_layers(model, pixels):
    """What each attention layer says of its feature map."""
    found = [layer for layer in model.layers if isinstance(layer, AttentionLayer)]
    features = keras.Model(model.input, [layer.input for layer in found]).predict(pixels)
    gates = {}
    for layer, feature in zip(found, features, strict=True):
        each = layer.attention(feature)
        each = [gate for gate in each if gate is not None] if isinstance(each, tuple) else [each]
        gates[layer.name] = [keras.ops.convert_to_numpy(gate) for gate in each]
    return gates


def test_they_are_the_gates(body, pixels):
    found = attention_maps(body, pixels, batch_size=2)
    gates = of_layers(body, pixels)
    assert list(found) == list(ATTENTIONS)
    assert set(attention_gates(body, pixels)) == set(ATTENTIONS)
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


def test_inside_a_wrapper_there_are_frames(body, pixels):
    clips = keras.Input((None, 12, 8, 3))
    wrapped = keras.Model(clips, layers.TimeDistributed(body, name="each")(clips))
    found = attention_maps(wrapped, np.stack([pixels, pixels[::-1]], axis=1))
    frames = attention_maps(body, pixels)
    assert list(found) == [f"each/body/{name}" for name in ATTENTIONS]
    for name, each in frames.items():
        framed = found[f"each/body/{name}"]
        assert framed.shape == each.shape
        for kind in ("spatial", "channel"):
            maps = getattr(each, kind)
            if maps is not None:
                both = np.stack([maps, maps[::-1]], axis=1)
                np.testing.assert_allclose(getattr(framed, kind), both, atol=1e-6)


def test_attention_inside_a_block_is_seen(pixels):
    block = Block(name="block")
    inputs = keras.Input((12, 8, 3))
    model = keras.Model(inputs, block(inputs))
    block.cbam.channel_attention.excite.bias.assign([1.0, 0.0, -2.0])
    found = attention_maps(model, pixels)["block/cbam"]
    channel, spatial = map(keras.ops.convert_to_numpy, block.cbam.attention(pixels))
    np.testing.assert_allclose(found.channel, np.squeeze(channel, (1, 2)), atol=1e-6)
    np.testing.assert_allclose(found.spatial, np.squeeze(spatial, -1), atol=1e-6)


def test_a_model_without_attention_has_none(pixels):
    inputs = keras.Input((12, 8, 3))
    assert attention_maps(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)), pixels) == {}


def test_no_images_are_refused(body, pixels):
    with pytest.raises(ValueError, match="Expected images"):
        attention_maps(body, pixels[:0])
