"""start_gates: hidden units that are on for about half of the images, and the same outputs."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.surgery import start_gates
from keras_cbam.training import Recipe, compile_model
from keras_cbam.training.group_rates import group_variables

pytestmark = pytest.mark.backends
RNG = np.random.default_rng(0)
# Far from 0 and much alike, as features after a ReLU are.
IMAGES = RNG.uniform(2.0, 2.2, (24, 6, 6, 5)).astype("float32")


def network(attention, **settings):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6, 6, 5))
    x = layers.Conv2D(32, 3, activation="relu", bias_initializer="ones", name="conv")(inputs)
    if settings.get("data_format") == "channels_first":
        x = layers.Permute((3, 1, 2))(x)
    x = attention(identity_init=True, name="attention", **settings)(x)
    body = keras.Model(inputs, layers.Flatten()(x))
    outer = keras.Input((6, 6, 5))
    return keras.Model(outer, layers.Dense(3)(body(outer))), body


def hidden_units(body, gate):
    """For each kind of pooling the hidden units before their activation, by NumPy."""
    layer = body.get_layer("attention")
    features = keras.Model(body.inputs, layer.input).predict(IMAGES, verbose=0).astype("float64")
    if layer.data_format == "channels_first":
        features = features.transpose(0, 2, 3, 1)
    pools = {"avg": features.mean((1, 2)), "max": features.max((1, 2))}
    kernel, bias = gate.squeeze.get_weights()
    kernel = kernel.reshape(kernel.shape[-2:]).astype("float64")
    return [pools[name] @ kernel + bias for name in gate.pools]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("attention", [CBAM, ChannelAttention, SqueezeExcite])
def test_units_have_no_mean_and_the_outputs_stay(attention, data_format):
    model, body = network(
        attention, reduction_ratio=8, bias_initializer="ones", data_format=data_format
    )
    layer = body.get_layer("attention")
    gate = layer.channel_attention if attention is CBAM else layer
    before = model.predict(IMAGES, verbose=0)
    old = np.stack(hidden_units(body, gate))
    assert (np.abs(old.mean(1)) > 3 * old.std(1)).any(), "on or off for all images"
    start_gates(model, IMAGES, batch_size=16)
    units = np.stack(hidden_units(body, gate))
    np.testing.assert_allclose(units.mean(1), 0, atol=1e-3)
    np.testing.assert_allclose(np.square(units).mean((0, 1)), 1, rtol=1e-3)
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), before)
    assert gate._replace_gates is None


def test_a_dataset_starts_gates_as_its_arrays_do():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            # Labels as a loss may take them.
            return IMAGES[8 * index :][:8], np.eye(8)

    kernels = []
    for images in (IMAGES, Batches()):
        model, body = network(ChannelAttention, reduction_ratio=8)
        start_gates(model, images, batch_size=8)
        kernels.append(body.get_layer("attention").squeeze.get_weights()[0])
    np.testing.assert_array_equal(*kernels)
    with pytest.raises(ValueError, match="Expected inputs as arrays"):
        start_gates(network(ChannelAttention, reduction_ratio=8)[0], iter(IMAGES))


def test_what_has_learned_stays():
    model, body = network(ChannelAttention, reduction_ratio=8)
    gate = body.get_layer("attention")
    gate.excite.kernel.assign(gate.excite.kernel + 0.1)
    before = model.get_weights()
    start_gates(model, IMAGES)
    for ours, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("attention", [BAM, SpatialAttention])
def test_attention_without_such_gates_stays(attention):
    model, _ = network(attention)
    before = model.get_weights()
    start_gates(model, IMAGES)
    for ours, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("channels", [2, 64])
def test_features_that_do_not_vary_are_not_made_large(channels):
    inputs = keras.Input((4, 4, channels))
    gate = ChannelAttention(identity_init=True)
    model = keras.Model(inputs, gate(inputs))
    # Alike but for rounding.
    images = np.full((8, 4, 4, channels), 100.0) * (1 + 1e-7 * RNG.normal(size=(8, 1, 1, channels)))
    start_gates(model, images.astype("float32"))
    assert np.abs(gate.squeeze.get_weights()[0]).max() < 10


def test_what_cannot_be_started():
    inputs = keras.Input((4, 4, 8))
    gate = ChannelAttention(identity_init=True)
    model = keras.Model(inputs, gate(gate(inputs)))
    with pytest.raises(ValueError, match=r"channel_attention\w*, which it uses several times"):
        start_gates(model, np.ones((8, 4, 4, 8), "float32"))
    with pytest.raises(ValueError, match="at least one input"):
        start_gates(model, np.ones((0, 4, 4, 8), "float32"))


@pytest.mark.parametrize("slowly", [False, True])
def test_started_units_stay_alive_where_they_learn_slowly(slowly):
    model, body = network(SqueezeExcite, reduction_ratio=16)
    gate = body.get_layer("attention")
    start_gates(model, IMAGES)
    # In the first phase of fine-tuning the backbone is frozen.
    body.get_layer("conv").trainable = False
    outputs = layers.Softmax()(model.output)
    model = keras.Model(model.inputs, outputs)
    recipe = Recipe("adam", 0.01, {"squeeze": 1e-4 if slowly else 0.1})
    compile_model(model, recipe, 60, group_variables(model, ()))
    labels = RNG.integers(0, 3, len(IMAGES))
    model.fit(IMAGES, labels, epochs=20, batch_size=8, shuffle=False, verbose=0)
    on = (np.stack(hidden_units(body, gate)) > 0).mean((0, 1))
    alive = (on > 0) & (on < 1)
    assert alive.all() if slowly else not alive.any(), on
