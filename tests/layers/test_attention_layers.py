"""The attention layers against NumPy, and the contract every one of them keeps."""

import inspect

import keras
import numpy as np
import pytest

import keras_cbam.layers
from keras_cbam import CBAM, ChannelAttention, SpatialAttention
from tests.layers import reference

pytestmark = pytest.mark.backends

LAYERS = {
    "CBAM": CBAM,
    "ChannelAttention": ChannelAttention,
    "SpatialAttention": SpatialAttention,
}
all_layers = pytest.mark.parametrize("layer_class", LAYERS.values(), ids=LAYERS.keys())
SHAPES = [(2, 6, 9, 32), (1, 1, 1, 5), (3, 7, 5, 16), (2, 1, 8, 48)]


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def randomize(layer, rng):
    layer.set_weights(
        [
            rng.uniform(0.2, 1, w.shape) if "variance" in w.path else rng.normal(0, 0.5, w.shape)
            for w in layer.weights
        ]
    )


def test_every_public_layer_is_in_the_registry():
    public = {
        name
        for name in keras_cbam.layers.__all__
        if inspect.isclass(getattr(keras_cbam.layers, name)) and name != "AttentionLayer"
    }
    assert public == set(LAYERS)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", SHAPES)
def test_cbam_agrees_with_numpy(shape, data_format, rng):
    x = rng.normal(0, 2, shape).astype("float32")
    layer = CBAM(reduction_ratio=8, data_format=data_format)
    first = data_format == "channels_first"
    given = x.transpose(0, 3, 1, 2) if first else x
    layer.build(given.shape)
    randomize(layer, rng)
    expected, *gates = reference.cbam(x, layer.get_weights())
    found = [numpy(layer(given)), *(numpy(gate) for gate in layer.attention(given))]
    assert np.ptp(gates[0]) > 0.1  # The reference varies.
    for a, b in zip(found, [expected, *gates], strict=True):
        a = a.transpose(0, 2, 3, 1) if first else a
        assert np.abs(a - b).max() < 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("pools", [("avg",), ("max",), ("max", "avg")])
def test_pools_are_used_in_the_order_given(pools, rng):
    x = rng.normal(0, 2, (2, 5, 6, 24)).astype("float32")
    channel = ChannelAttention(4, pooling=pools)
    channel.build(x.shape)
    randomize(channel, rng)
    gate = reference.channel_gate(x.astype("float64"), *channel.get_weights(), pools=pools)
    assert np.abs(numpy(channel.attention(x)) - gate).max() < 1e-5
    spatial = SpatialAttention(3, pooling=pools, use_batch_norm=False)
    spatial.build(x.shape)
    randomize(spatial, rng)
    kernel, bias = spatial.get_weights()
    z = reference.spatial_logits(x.astype("float64"), kernel, pools) + bias
    assert np.abs(numpy(spatial.attention(x)) - reference.sigmoid(z)).max() < 1e-5


def test_parameter_counts_worked_by_hand():
    layer = CBAM(reduction_ratio=16)
    layer.build((None, None, None, 64))
    # MLP 64*4 + 4 + 4*64 + 64, convolution 7*7*2, gamma and beta; then the two moving statistics.
    assert sum(int(np.prod(w.shape)) for w in layer.trainable_weights) == 580 + 98 + 2
    assert layer.count_params() == 580 + 98 + 4


def test_narrow_maps_keep_one_hidden_channel():
    layer = ChannelAttention(reduction_ratio=16)
    layer.build((None, 4, 4, 3))
    assert layer.squeeze.kernel.shape == (1, 1, 3, 1)


@all_layers
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_identity_start_is_exact(layer_class, training, data_format, rng):
    x = rng.normal(0, 30, (2, 8, 6, 20)).astype("float32")
    layer = layer_class(identity_init=True, data_format=data_format)
    assert np.array_equal(numpy(layer(x, training=training)), x)
    plain = layer_class(data_format=data_format)
    assert not np.allclose(numpy(plain(x)), x)


def test_identity_without_batch_norm_is_exact(rng):
    x = rng.normal(0, 30, (2, 8, 6, 20)).astype("float32")
    assert np.array_equal(numpy(SpatialAttention(identity_init=True, use_batch_norm=False)(x)), x)


@all_layers
def test_identity_start_trains_every_weight(layer_class, rng):
    x = rng.normal(0, 1, (16, 6, 6, 16)).astype("float32")
    y = x * rng.uniform(0.5, 1.5, (1, 6, 6, 16)).astype("float32")
    inputs = keras.Input((6, 6, 16))
    layer = (
        layer_class(4, identity_init=True)
        if layer_class is not SpatialAttention
        else (layer_class(3, identity_init=True))
    )
    model = keras.Model(inputs, layer(inputs))
    before = layer.get_weights()
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.fit(x, y, batch_size=4, epochs=1, verbose=0)
    for weight, old in zip(layer.weights, before, strict=True):
        assert not np.array_equal(weight.numpy(), old), weight.path


@all_layers
def test_one_small_step_moves_little(layer_class, rng):
    """A zero kernel under batch normalization would be rescaled to unit variance here."""
    x = rng.normal(0, 1, (8, 6, 6, 16)).astype("float32")
    inputs = keras.Input((6, 6, 16))
    model = keras.Model(inputs, layer_class(identity_init=True)(inputs))
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    model.fit(x, 2 * x, batch_size=8, epochs=1, verbose=0)
    moved = np.abs(numpy(model(x, training=True)) - x).max() / np.ptp(x)
    assert 0 < moved < 0.005


@all_layers
def test_config_round_trip(layer_class):
    layer = layer_class(identity_init=True, data_format="channels_first", name="refine")
    config = layer.get_config()
    assert layer_class.from_config(config).get_config() == config
    arguments = set(inspect.signature(layer_class.__init__).parameters) - {"self", "kwargs"}
    assert arguments <= set(config)


@all_layers
def test_saved_model_loads_without_custom_objects(layer_class, tmp_path, rng):
    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, layer_class()(inputs))
    randomize(model, rng)
    model.save(tmp_path / "model.keras")
    x = rng.normal(0, 1, (2, 5, 7, 16)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(numpy(loaded(x)), numpy(model(x)))


@all_layers
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(layer_class, policy, rng):
    x = rng.normal(60, 5, (1, 112, 112, 8)).astype("float32")
    layer = layer_class(identity_init=True, dtype=policy)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    # The gates of a fresh identity are exactly 1 in half precision too.
    assert np.array_equal(
        numpy(keras.ops.cast(y, "float32")),
        numpy(keras.ops.cast(keras.ops.cast(x, y.dtype), "float32")),
    )
    gates = layer.attention(keras.ops.cast(x, y.dtype))
    assert all(np.all(numpy(keras.ops.cast(g, "float32")) == 1) for g in keras.tree.flatten(gates))


@all_layers
def test_symbolic_shape_is_the_inputs(layer_class):
    assert layer_class()(keras.Input((None, None, 16))).shape == (None, None, None, 16)


BAD_ARGUMENTS = [
    (lambda: ChannelAttention(0), r"`reduction_ratio` must be at least 1. Received: reduction_r"),
    (lambda: ChannelAttention(pooling="median"), r"`pooling` must name one or more of .*avg.*max"),
    (lambda: SpatialAttention(4), r"`kernel_size` must be an odd integer.*Received: kernel_size=4"),
    (lambda: SpatialAttention(pooling=()), r"`pooling` must name one or more"),
    (
        lambda: CBAM(data_format="NHWC"),
        r"`data_format` must be one of .*Received: data_format=NHWC",
    ),
    (lambda: CBAM(identity_init=True, gate_activation="relu"), r"must be 0.5 at zero.*relu"),
    (
        lambda: CBAM()(keras.Input((8, 8, None))),
        r"channel dimension of the inputs to ChannelAttention must be",
    ),
    (lambda: CBAM()(keras.Input((8, 16))), r"expected ndim=4"),
]


@pytest.mark.parametrize(("make", "message"), BAD_ARGUMENTS)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
