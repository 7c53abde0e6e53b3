"""Rates by group: each group moves as if all had its rate, and the rest is the optimizer's."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import SqueezeExcite
from keras_cbam.errors import InputError
from keras_cbam.training import Recipe, compile_model
from keras_cbam.training.group_rates import group_variables
from keras_cbam.training.recipe import dtype_policy, optimizer
from tests.backend import BACKEND, quick

pytestmark = pytest.mark.backends
RATES = {"backbone": 0.01, "attention": 0.04, "squeeze": 0.08, "head": 0.002}


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 3, padding="same", name="conv")(inputs)
    body = keras.Model(inputs, SqueezeExcite(reduction_ratio=2, name="gate")(x), name="body")
    x = layers.GlobalAveragePooling2D()(body(inputs))
    return keras.Model(inputs, layers.Dense(3, "softmax", dtype="float32", name="head")(x))


def moved(recipe, steps=3):
    """How far each group has gone from its start, after each step."""
    model = network()
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (8, 4, 4, 3)).astype("float32"), rng.integers(0, 3, 8)
    groups = group_variables(model, ["head"])
    compile_model(model, recipe, 10, groups)
    start = {name: [v.numpy() for v in group] for name, group in groups.items()}
    ways = []
    for _ in range(steps):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        ways.append(
            {
                name: [v.numpy() - before for v, before in zip(group, start[name], strict=True)]
                for name, group in groups.items()
            }
        )
    return ways


def recipe(name, rate, rates=None, **settings):
    rates = {} if rates is None else {k: v for k, v in rates.items() if k != "backbone"}
    return Recipe(name, rate, rates, **{"schedule": "constant", **settings})


OPTIMIZERS = {
    "adam": ("adam", {}),
    "adamw": ("adamw", {"weight_decay": 0.5}),
    "sgd": ("sgd", {"momentum": 0.0, "weight_decay": 0.5}),
    "momentum": (
        "sgd",
        {"momentum": 0.9, "nesterov": True, "schedule": "cosine", "warmup": 0.3},
    ),
    "clipped": ("sgd", {"momentum": 0.0, "clip_norm": 1e-2}),
    "averaged": ("adam", {"clip_norm": 1e-2, "ema": 0.5}),
}
# PyTorch compiles nothing.
QUICK = OPTIMIZERS if BACKEND == "torch" else {"adamw", "momentum", "averaged"}


@pytest.mark.parametrize("case", quick(OPTIMIZERS, QUICK))
def test_each_group_takes_the_first_step_of_its_own_rate(case):
    name, settings = OPTIMIZERS[case]
    grouped = moved(recipe(name, RATES["backbone"], RATES, **settings), 1)[0]
    largest = max(RATES.values())
    alone = moved(recipe(name, largest, **settings), 1)[0]
    for group, rate in RATES.items():
        for ours, at_largest in zip(grouped[group], alone[group], strict=True):
            # The first step of each optimizer is in proportion to the rate.
            np.testing.assert_allclose(ours, at_largest * rate / largest, rtol=1e-4, atol=1e-7)
        assert max(np.abs(way).max() for way in grouped[group]) > 1e-6


@pytest.mark.parametrize("name", quick(["adam", "adamw", "sgd"], {"adamw"}))
def test_equal_rates_train_as_one_rate(name):
    equal = dict.fromkeys(RATES, 0.01)
    grouped, alone = moved(recipe(name, 0.01, equal)), moved(recipe(name, 0.01))
    for group in RATES:
        for ours, expected in zip(grouped[-1][group], alone[-1][group], strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-6)


def test_a_scaled_loss_keeps_the_rates():
    with dtype_policy("mixed_float16"):
        model = network()
    groups = group_variables(model, ["head"])
    rates = {"attention": 0.04}
    compile_model(model, Recipe("sgd", 0.01, rates, dtype_policy="mixed_float16"), 10, groups)
    inner = model.optimizer.inner_optimizer
    assert len(inner.scales) == 4
    # The squeeze at a tenth of the rest of the attention.
    assert sorted(inner.scales.values()) == pytest.approx([0.4, 4.0, 4.0, 4.0])
    x = np.random.default_rng(0).normal(0, 1, (8, 4, 4, 3)).astype("float32")
    model.fit(x, np.arange(8) % 3, verbose=0)


def test_groups_find_nested_layers():
    model = network()
    groups = group_variables(model, ["head"])
    assert {name: len(found) for name, found in groups.items()} == {
        "backbone": 2,
        "attention": 3,
        "squeeze": 1,
        "head": 2,
    }
    squeeze = model.get_layer("body").get_layer("gate").squeeze
    assert groups["squeeze"][0] is squeeze.kernel
    model.get_layer("body").get_layer("conv").trainable = False
    assert group_variables(model, ["head"])["backbone"] == []
    assert len(group_variables(model, ["head", "body/gate"])["head"]) == 6
    # A nested model's name stands for all of its layers.
    assert len(group_variables(model, ["body"])["head"]) == 4
    for head in (["heed"], "head"):
        with pytest.raises(ValueError, match=r"`head` must .* Received: (head|\['heed'\])"):
            group_variables(model, head)


def test_attention_inside_a_layer_is_found():
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(8, 3)
            self.gate = SqueezeExcite()

        def build(self, input_shape):
            self.conv.build(input_shape)
            self.gate.build(self.conv.compute_output_shape(input_shape))

        def call(self, inputs):
            return self.gate(self.conv(inputs))

    inputs = keras.Input((4, 4, 3))
    block = Block()
    groups = group_variables(keras.Model(inputs, block(inputs)), ())
    assert {name: len(found) for name, found in groups.items()} == {
        "backbone": 2,
        "attention": 3,
        "squeeze": 1,
        "head": 0,
    }


def test_rates_that_cannot_be():
    with pytest.raises(InputError, match=r"of backbone, attention, squeeze, head. Received: x"):
        Recipe(group_rates={"x": 0.1}).check()
    with pytest.raises(InputError, match="Expected a learning rate of the head above 0"):
        Recipe(group_rates={"head": 0.0}).check()
    with pytest.raises(ValueError, match="`groups` must be given"):
        optimizer(Recipe(group_rates={"head": 0.1}), 10)
