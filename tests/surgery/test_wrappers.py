"""Attention inside wrappers and blocks of one's own: seen by freezing, counting, detaching."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import (
    CBAM,
    attach_attention,
    detach_attention,
    freeze_backbone,
    summarize_parameters,
)
from keras_cbam.surgery.addresses import walk
from keras_cbam.surgery.gate_switch import model_gates
from keras_cbam.training.group_rates import group_variables
from tests.surgery.proof import assert_agree, call


class Block(keras.layers.Layer):
    """A block with attention in its own `call`, and a weight beside it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.cbam = CBAM(name="cbam")

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")
        self.cbam.build(input_shape)

    def call(self, x):
        return x + self.scale * self.cbam(x)


class Holder(keras.Model):
    """A model that computes in its own `call`, with a weight beside its layers."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")
        self.conv = layers.Conv2D(16, 3, name="conv")
        self.wrapper = layers.TimeDistributed(CBAM(name="cbam"), name="each")

    def call(self, x):
        return self.scale * self.wrapper(self.conv(x)[:, None])


def of_frames(network):
    """A classifier of clips over a network of images."""
    clips = keras.Input((2, *network.input_shape[1:]))
    x = layers.TimeDistributed(network, name="each")(clips)
    return keras.Model(clips, layers.Dense(3, name="scores")(layers.Flatten()(x)))


def in_a_block():
    inputs = keras.Input((8, 8, 3))
    x = Block(name="block")(layers.Conv2D(16, 3, name="conv")(inputs))
    return keras.Model(inputs, layers.Dense(3, name="scores")(layers.Flatten()(x)))


def wrapped(small):
    return of_frames(attach_attention(small))


def wrapped_twice(small):
    inner = attach_attention(small)
    clips = keras.Input((2, *inner.input_shape[1:]))
    frames = keras.Model(clips, layers.TimeDistributed(inner, name="frame")(clips), name="frames")
    return of_frames(frames)


@pytest.mark.parametrize("build", [wrapped, wrapped_twice])
def test_attention_in_a_wrapper_trains(small, build):
    model = build(small)
    freeze_backbone(model, head=["scores"])
    trained = {address.split("/")[-1] for address, layer in walk(model) if layer.trainable_weights}
    assert trained == {"a_bn2_cbam", "b_bn2_cbam", "scores"}
    groups = group_variables(model, ["scores"])
    assert len(groups["attention"]) + len(groups["squeeze"]) == 2 * 7
    assert [len(groups[name]) for name in ("backbone", "head")] == [0, 2]


def test_attention_in_a_wrapper_is_counted(small):
    counts = {each.kind: each for each in summarize_parameters(wrapped(small))}
    inside = {each.kind: each for each in summarize_parameters(attach_attention(small))}
    assert counts["attention"] == inside["attention"]
    assert counts["convolution"] == inside["convolution"]
    assert counts["total"].parameters == wrapped(small).count_params()


def test_the_copy_of_a_wrapper_computes_the_same(small, rng):
    model, clips = of_frames(small), rng.uniform(0, 255, (1, 2, 16, 16, 3)).astype("float32")
    assert_agree(call(detach_attention(model), clips), call(model, clips))


@pytest.mark.parametrize("build", [wrapped, wrapped_twice])
def test_attention_in_a_wrapper_is_detached(small, build, rng):
    model = build(small)
    clips = rng.uniform(0, 255, (1, *model.input_shape[1:])).astype("float32")
    # Attention starts as the identity, so these are the answers without it.
    expected = call(model, clips)
    for gate in model_gates(model):
        gate.owner.set_weights([rng.normal(size=weight.shape) for weight in gate.owner.weights])
    detached = detach_attention(model)
    assert not model_gates(detached)
    assert_agree(call(detached, clips), expected)
    assert len(model_gates(model)) == 4


def test_wrapped_attention_is_detached(rng):
    clips = keras.Input((2, 8, 8, 16))
    model = keras.Model(clips, layers.TimeDistributed(CBAM(), name="each")(clips))
    values = rng.normal(size=(1, 2, 8, 8, 16)).astype("float32")
    (found,) = call(detach_attention(model), values)
    np.testing.assert_array_equal(found, values)


def test_a_block_trains_its_attention_alone():
    model = in_a_block()
    freeze_backbone(model, head=["scores"])
    assert {v.path.split("/")[0] for v in model.trainable_variables} == {"block", "scores"}
    assert not model.get_layer("block").scale.trainable
    assert all(v.trainable for v in model.get_layer("block").cbam.trainable_variables)
    freeze_backbone(model, head=["block"])
    assert model.get_layer("block").scale.trainable
    assert summarize_parameters(model)[-1].parameters == model.count_params()
    assert len(group_variables(model, ["scores"])["backbone"]) == 1


def test_a_block_is_detached_whole_or_not_at_all(rng):
    model, images = in_a_block(), rng.normal(size=(1, 8, 8, 3)).astype("float32")
    with pytest.raises(TypeError, match="Received: layer block of class Block"):
        detach_attention(model)
    plain = keras.Sequential([layer for layer in model.layers if layer.name != "block"])
    found = call(detach_attention(model, layers=["block"]), images)
    assert_agree(found, call(plain, images))


def test_a_subclassed_model_is_looked_into():
    model = Holder()
    model(np.zeros((1, 8, 8, 3), "float32"))
    freeze_backbone(model)
    assert {v.path.split("/")[-2] for v in model.trainable_variables} >= {"squeeze", "excite"}
    assert not model.scale.trainable
    assert not model.conv.trainable
    counts = {each.kind: each for each in summarize_parameters(model)}
    assert counts["attention"].layers == counts["other"].layers == 1
    assert counts["total"].parameters == model.count_params()
