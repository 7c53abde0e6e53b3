"""What every public attention layer keeps, in every variant of the registry, on each backend."""

import inspect

import keras
import numpy as np
import pytest

import keras_cbam
import keras_cbam.layers
from tests.backend import BACKEND
from tests.layers.registry import (
    FIRST_OF_EACH,
    SHAPE,
    VARIANTS,
    back,
    both_formats,
    both_modes,
    double_precision,
    every_layer,
    every_variant,
    every_variant_everywhere,
    numpy,
    present,
    put,
    randomize,
    reach,
    to_first,
    wide,
)

pytestmark = pytest.mark.backends

# Relative errors: for the half precisions those of rounding the gate and the product, no more. On
# JAX and PyTorch Keras's own mean and batch normalization pass through float32 in float64 too.
TOLERANCE = {
    "float32": 2**-18,
    "float16": 1.1 * 2**-10,
    "bfloat16": 1.1 * 2**-7,
    "float64": 2**-40 if BACKEND == "tensorflow" else 2**-18,
}


def test_every_public_layer_is_in_the_registry():
    public = {
        getattr(keras_cbam.layers, name)
        for name in keras_cbam.layers.__all__
        if name != "AttentionLayer"
    }
    assert public == set(FIRST_OF_EACH)
    assert public == {
        value
        for value in (getattr(keras_cbam, name) for name in keras_cbam.__all__)
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    }


@every_variant_everywhere
@both_modes
@both_formats
def test_agrees_with_numpy(variant, data_format, training, rng):
    """In both data formats, so that they give the same numbers."""
    x = rng.normal(0, 1, SHAPE).astype("float32")
    layer = variant.built(x.shape, data_format=data_format)
    expected, gates = variant.expected(layer, x, training)
    given = put(x, data_format)
    found = present(layer.attention(given, training=training))
    for a, b in zip(found, present(gates), strict=True):
        assert np.ptp(b) > 0.03  # The reference varies.
        assert back(numpy(a), data_format).shape == b.shape
        assert np.abs(back(numpy(a), data_format) - b).max() < 1e-5 * reach(b)
    y = numpy(layer(given, training=training))
    assert np.abs(back(y, data_format) - expected).max() < 1e-5 * reach(expected)


# Every argument of every layer, with a value that is not its default.
NOT_DEFAULT = {
    "reduction_ratio": 4,
    "kernel_size": 3,
    "dilation": 2,
    "order": "parallel",
    "fusion": "add",
    "pooling": ("max", "avg"),
    "channel_pooling": "lse",
    "spatial_pooling": ("conv",),
    "hidden_activation": "tanh",
    "gate_activation": "hard_sigmoid",
    "use_bias": False,
    "use_batch_norm": False,
    "identity_init": True,
    "kernel_initializer": keras.initializers.HeNormal(),
    "bias_initializer": "ones",
    "gamma_initializer": "zeros",
    "kernel_regularizer": "l1",
    "bias_regularizer": "l2",
    "data_format": "channels_first",
}


@every_layer
def test_config_round_trip(variant):
    layer_class = variant.layer_class
    arguments = {
        name
        for c in layer_class.__mro__
        if issubclass(c, keras_cbam.layers.AttentionLayer)
        for name in inspect.signature(c.__init__).parameters
    } - {"self", "kwargs"}
    if layer_class is keras_cbam.SqueezeExcite:
        arguments.remove("pooling")
    default = layer_class()
    layer = layer_class(**{name: NOT_DEFAULT[name] for name in arguments}, name="refine")
    config = layer.get_config()
    for name in arguments:
        assert hasattr(layer, name)
        assert config[name] != default.get_config()[name], name
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(restored) is layer_class
    assert restored.get_config() == config


@every_variant
def test_saved_model_loads_without_custom_objects(variant, tmp_path, rng):
    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, variant.make()(inputs))
    randomize(model, rng)
    model.save(tmp_path / "model.keras")
    x = rng.normal(0, 1, SHAPE).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(numpy(loaded(x)), numpy(model(x)))


@every_variant
@both_modes
@both_formats
def test_an_empty_batch_stays_empty(variant, data_format, training):
    x = put(np.zeros((0, *SHAPE[1:]), "float32"), data_format)
    layer = variant.make(data_format=data_format)
    assert layer(x, training=training).shape == x.shape
    gates = present(layer.attention(x, training=training))
    assert [gate.shape[0] for gate in gates] == [0] * len(gates)
    assert all(np.isfinite(numpy(weight)).all() for weight in layer.weights)


@every_variant
@both_formats
def test_dynamic_shapes(variant, data_format, rng):
    """Any batch, height and width, non-square and 1x1, with one set of weights."""
    shape = (None, None, None, 16)
    inputs = keras.Input(batch_shape=shape if data_format == "channels_last" else to_first(shape))
    layer = variant.make(data_format=data_format)
    outputs = layer(inputs)
    assert outputs.shape == inputs.shape
    assert layer.compute_output_shape(inputs.shape) == inputs.shape
    model = keras.Model(inputs, outputs)
    randomize(layer, rng)
    for drawn in [(1, 1, 1, 16), (3, 5, 2, 16), (2, 1, 8, 16)]:
        x = rng.normal(0, 1, drawn).astype("float32")
        expected, _ = variant.expected(layer, x)
        y = numpy(model(put(x, data_format)))
        assert np.abs(back(y, data_format) - expected).max() < 1e-5 * reach(expected)


@every_variant
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
def test_precision(variant, policy, rng):
    """In half precision too the gates are those of the reference until they are rounded."""
    with double_precision(policy):
        x = keras.ops.convert_to_tensor(
            rng.normal(0, 1, SHAPE), dtype=policy.removeprefix("mixed_")
        )
        layer = variant.built(x.shape, dtype=policy)
        y = layer(x)
        dtype = keras.backend.standardize_dtype(y.dtype)
        assert dtype == policy.removeprefix("mixed_")
        assert all(
            keras.backend.standardize_dtype(gate.dtype) == dtype
            for gate in present(layer.attention(x))
        )
        kept = "float64" if policy == "float64" else "float32"
        assert {weight.dtype for weight in layer.weights} == {kept}
        as_numpy = numpy if policy == "float64" else wide
        expected, _ = variant.expected(layer, as_numpy(x))
        error = np.abs(as_numpy(y) - expected)
    assert (error <= TOLERANCE[dtype] * np.abs(expected) + TOLERANCE[dtype] ** 2).all()


@every_variant
@pytest.mark.skipif(BACKEND == "torch", reason="Keras's PyTorch backend does not compile by XLA")
def test_xla(variant, rng):
    x = rng.normal(0, 1, SHAPE).astype("float32")
    layer = variant.built(x.shape)
    expected, _ = variant.expected(layer, x)
    assert np.abs(compiled(layer, x) - expected).max() < 1e-5 * reach(expected)
    identity = variant.make(identity_init=True, gate_activation="sigmoid")
    identity.build(x.shape)
    assert np.array_equal(compiled(identity, x), x)


def compiled(layer, x):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(layer, jit_compile=True)(tf.constant(x)).numpy()
    import jax

    values = [w.value for w in layer.trainable_variables]
    others = [w.value for w in layer.non_trainable_variables]
    return numpy(jax.jit(layer.stateless_call)(values, others, x)[0])


@every_layer
@pytest.mark.skipif(BACKEND != "tensorflow", reason="SavedModel is TensorFlow's format")
def test_saved_model(variant, tmp_path, rng):
    import tensorflow as tf

    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, variant.make()(inputs))
    randomize(model, rng)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    for shape in [(1, 6, 4, 16), (3, 5, 7, 16)]:
        x = rng.normal(0, 1, shape).astype("float32")
        expected, _ = variant.expected(model.layers[-1], x)
        assert np.abs(loaded.serve(x).numpy() - expected).max() < 1e-5 * reach(expected)


@every_layer
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_training_lowers_the_loss(variant, policy, rng):
    x = rng.normal(0, 1, (24, *SHAPE[1:])).astype("float32")
    inputs = keras.Input(SHAPE[1:])
    model = keras.Model(inputs, variant.make(dtype=policy)(inputs))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    losses = model.fit(x, 0.8 * x, batch_size=SHAPE[0], epochs=2, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["cbam", "spatial", "bam"])
def test_frozen_statistics_do_not_move(name, rng):
    """`trainable = False` stops batch normalization, as in every Keras layer."""
    x = rng.normal(3, 2, SHAPE).astype("float32")
    layer = VARIANTS[name].built(x.shape)
    for trainable in (False, True):
        layer.trainable = trainable
        before = [numpy(weight) for weight in layer.weights]
        layer(x, training=True)
        moved = [
            not np.array_equal(numpy(w), old) for w, old in zip(layer.weights, before, strict=True)
        ]
        assert any(moved) == trainable


@every_layer
def test_a_layer_may_be_made_while_a_model_is_traced(variant, rng):
    """As in `build` of a subclassed model that `fit` builds."""

    class Refine(keras.Model):
        def build(self, input_shape):
            self.refine = variant.make(identity_init=True)
            self.refine.build(input_shape)

        def call(self, x, training=None):
            return self.refine(x, training=training)

    x = rng.normal(0, 1, SHAPE).astype("float32")
    model = Refine()
    model.compile("sgd", "mse")
    model.fit(x, 2 * x, verbose=0)


@every_layer
def test_integers_become_floats(variant, rng):
    x = rng.integers(0, 255, SHAPE).astype("uint8")
    layer = variant.built(SHAPE)
    assert np.array_equal(numpy(layer(x)), numpy(layer(x.astype("float32"))))


@every_layer
def test_attention_refuses_symbolic_tensors(variant):
    with pytest.raises(
        TypeError, match=r"^`attention` takes a tensor that holds values.*Received:"
    ):
        variant.make().attention(keras.Input(SHAPE[1:]))


@every_layer
def test_data_format_defaults_to_that_of_keras(variant):
    assert variant.make().data_format == "channels_last"
    keras.config.set_image_data_format("channels_first")
    try:
        assert variant.make().data_format == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
