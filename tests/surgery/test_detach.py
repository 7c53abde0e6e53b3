"""detach_attention: which layers go, and what is refused."""

import keras
import pytest

from keras_cbam import attach_attention, detach_attention
from tests.drawn import example
from tests.surgery.graphs import GRAPHS
from tests.surgery.proof import assert_agree, call


class Halve(keras.layers.Layer):
    """Attention of the user's own, which detaching does not know."""

    def call(self, x):
        return x / 2


def test_layers_of_a_factory_are_named(rng):
    model = GRAPHS["nested_twice"].build()
    inputs = example(model, rng)
    attached = attach_attention(model, lambda point: Halve(name=f"halve{point.stage}"))
    names = ["features/backbone/halve1", "features/backbone/halve2"]
    assert_agree(call(detach_attention(attached, layers=names), inputs), call(model, inputs))
    kept = detach_attention(attached)
    assert kept.get_layer("features").get_layer("backbone").get_layer("halve1")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["a_bn2", "a_bn3"], r"must name layers of the model. Received: \['a_bn3'\]"),
        (["a_conv1"], "the shape of their input. Received: a_conv1 of class Conv2D"),
        (["a_add"], "the shape of their input. Received: a_add of class Add"),
        (["pixels"], r"must name layers of the model. Received: \['pixels'\]"),
    ],
)
def test_other_layers_are_refused(small, layers, message):
    with pytest.raises(ValueError, match=message):
        detach_attention(small, layers=layers)


def test_a_plain_model_is_copied(small, rng):
    images = example(small, rng)
    detached = detach_attention(small)
    assert_agree(call(detached, images), call(small, images))
    assert not {id(v) for v in detached.variables} & {id(v) for v in small.variables}
