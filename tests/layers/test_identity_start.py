"""`identity_init`: the input bit for bit at the start, and a layer that trains from there."""

import keras
import numpy as np
import pytest

from tests.layers.registry import (
    SHAPE,
    VARIANTS,
    both_formats,
    both_modes,
    every_variant,
    numpy,
    present,
    put,
    wide,
    wide_bottleneck,
)

pytestmark = pytest.mark.backends

# The largest share of the outputs' range by which one step of 1e-4 may move a fresh identity.
SMALL_STEP = 0.005


@every_variant
@both_modes
@both_formats
def test_identity_start_is_exact(variant, data_format, training, rng):
    x = rng.normal(0, 30, SHAPE).astype("float32")
    x[:, :4] = 0  # A dead region, as ReLU leaves them.
    given = put(x, data_format)
    options = {"data_format": data_format, "bias_initializer": "ones"}
    layer = variant.make(identity_init=True, **options)
    assert np.array_equal(numpy(layer(given, training=training)), given)
    assert all(np.all(numpy(gate) == 1) for gate in present(layer.attention(given)))
    plain = variant.make(**options)
    assert not np.allclose(numpy(plain(given)), given)


@every_variant
@both_modes
def test_identity_start_is_exact_as_far_as_promised(variant, training, rng):
    given = (1e15 * rng.choice([-1, -0.3, 1], SHAPE)).astype("float32")
    layer = variant.make(identity_init=True)
    assert np.array_equal(numpy(layer(given, training=training)), given)


@every_variant
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_identity_start_is_exact_in_half_precision(variant, policy, rng):
    # The smallest numbers of float16 among them, which have no half.
    x = rng.normal(0, 1, SHAPE) * 10.0 ** rng.integers(-8, 4, SHAPE)
    given = keras.ops.cast(x.astype("float32"), policy.removeprefix("mixed_"))
    layer = variant.make(identity_init=True, dtype=policy)
    assert np.array_equal(wide(layer(given, training=True)), wide(given))


@every_variant
def test_identity_start_trains(variant, rng):
    """Each small step moves little; three of them reach every weight.

    A zero kernel under batch normalization would be rescaled to unit variance by the first step.
    """
    x = rng.normal(0, 1, SHAPE).astype("float32")
    inputs = keras.Input(SHAPE[1:])
    layer = variant.make(identity_init=True, **wide_bottleneck(variant))
    model = keras.Model(inputs, layer(inputs))
    before = [numpy(weight) for weight in layer.weights]
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    seen = x
    for _ in range(3):
        model.train_on_batch(x, 2 * x * np.abs(x))
        now = numpy(layer(x, training=True))
        assert 0 < np.abs(now - seen).max() < SMALL_STEP * np.ptp(x)
        seen = now
    for weight, old in zip(layer.weights, before, strict=True):
        assert not np.array_equal(numpy(weight), old), weight.path


WIDE = [("cbam", {}, (2, 7, 7, 2048), 0.02), ("channel", {"pooling": "lp"}, (2, 28, 28, 512), 0.04)]


@pytest.mark.parametrize(("name", "options", "shape", "bound"), WIDE)
def test_a_small_step_on_a_wide_map_moves_an_identity_little(name, options, shape, bound, rng):
    x = np.maximum(rng.normal(0, 1, shape), 0).astype("float32")
    inputs = keras.Input(shape[1:])
    layer = VARIANTS[name].make(identity_init=True, reduction_ratio=16, **options)
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    model.train_on_batch(x, 2 * x)
    assert 0.001 < np.abs(numpy(layer(x, training=True)) - x).max() / np.ptp(x) < bound
