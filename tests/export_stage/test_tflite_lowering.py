"""For a processor, TFLite files have the same function in fewer and fuller convolutions."""

from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import CBAM
from keras_cbam.export.tflite.columns import band
from keras_cbam.export.tflite.graph import Graph
from keras_cbam.export.tflite.targets import lower as write_for
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")


def same_padded(x, kernel):
    """A map (height, width, channels) convolved with (kh, kw, channels, outputs), in float64."""
    (height, width, _), (tall, wide, _, outputs) = x.shape, kernel.shape
    padded = np.pad(x, ((tall // 2,) * 2, (wide // 2,) * 2, (0, 0)))
    made = np.zeros((height, width, outputs))
    for i in range(tall):
        for j in range(wide):
            made += padded[i : i + height, j : j + width] @ kernel[i, j]
    return made


@pytest.mark.parametrize(
    ("side", "width", "columns", "channels", "groups"),
    [(7, 28, 7, 1, 3), (7, 24, 2, 2, 5), (3, 12, 4, 1, 3), (7, 6, 6, 2, 1), (11, 15, 5, 1, 3)],
)
def test_a_band_convolves_groups_of_columns_as_the_kernel_does_columns(
    side, width, columns, channels, groups
):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(9, width, channels)), rng.normal(size=(side, side, channels))
    made = np.moveaxis(band(kernel, columns, groups), 0, -1)
    assert made.shape == (side, groups, columns * channels, columns)
    grouped = same_padded(x.reshape(9, width // columns, -1), made)
    expected = same_padded(x, kernel[..., None])
    np.testing.assert_allclose(grouped.reshape(9, width, 1), expected, atol=1e-12)


def converted(model, precision):
    """The model as the converter writes it."""
    import tensorflow as tf

    shape = (1, *model.input_shape[1:])
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    rng = np.random.default_rng(1)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision in ("int8", "int16x8"):
        converter.representative_dataset = lambda: (
            [rng.normal(size=shape).astype("float32")] for _ in range(10)
        )
        kind = {
            "int8": "TFLITE_BUILTINS_INT8",
            "int16x8": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
        }
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, kind[precision])]
    return converter.convert()


def answers(content, images):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    found = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.array(found)


def lower(content, target):
    """The file in the operations of a target."""
    graph = Graph(content)
    write_for(graph, target)
    return graph.packed()


def as_it_is(content):
    """The file, read and written."""
    return Graph(content).packed()


def kinds(content):
    return [kind for kind, _ in Graph(content).operations()]


def random(model):
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, w.shape).astype("float32") for w in model.get_weights()])
    return model


def images(model, count=20):
    rng = np.random.default_rng(2)
    return rng.normal(size=(count, *model.input_shape[1:])).astype("float32")


@pytest.fixture(scope="module")
def network():
    """CBAM of maps 28 wide, and a convolution to one channel with an activation, 14 wide.

    The MLP's layers and that kernel have more than the 1,024 values from which dynamic range
    quantizes.
    """
    inputs = keras.Input((14, 28, 48))
    x = CBAM(reduction_ratio=2, use_batch_norm=False)(inputs)
    x = layers.Conv2D(21, 3, strides=(1, 2), padding="same")(x)
    gates = layers.Conv2D(1, 7, padding="same", activation="relu")(x)
    return random(keras.Model(inputs, layers.multiply([x, gates])))


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_function_stays(precision, network):
    content = converted(network, precision)
    lowered = lower(content, "cpu")
    quantized = precision in ("int8", "int16x8")
    more = Counter(kinds(lowered))
    more.subtract(kinds(content))
    # A kernel to one channel that is int8 beside float features is left alone.
    assert more["RESHAPE"] == (4 if precision == "dynamic" else 6)
    assert more["CONV_2D"] == (0 if quantized else -1)
    assert lower(lowered, "cpu") == lowered
    assert lower(content, "generic") == as_it_is(content)
    pixels = images(network)
    before, after = (answers(each, pixels) for each in (content, lowered))
    assert np.ptp(before, axis=0).max() > 1
    if quantized:
        np.testing.assert_array_equal(after, before)
    elif precision == "dynamic":
        # The MLP's features are quantized as they come: their sum, no longer each.
        assert np.square(after - before).mean() < 1e-3 * np.square(before).mean()
    else:
        np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "valid"},
        {"padding": "same", "strides": 2},
        {"padding": "same", "dilation_rate": 2},
        {"padding": "same", "kernel_size": 4},
        {"padding": "same", "kernel_size": 1},
        {"padding": "same", "filters": 2},
    ],
)
def test_other_convolutions_are_left_alone(options):
    inputs = keras.Input((14, 28, 3))
    outputs = layers.Conv2D(**{"filters": 1, "kernel_size": 7, **options})(inputs)
    content = converted(random(keras.Model(inputs, outputs)), "float32")
    assert lower(content, "cpu") == as_it_is(content)


def test_a_width_of_large_prime_factors_is_left_alone():
    inputs = keras.Input((14, 29, 3))
    model = keras.Model(inputs, layers.Conv2D(1, 7, padding="same")(inputs))
    content = converted(random(model), "float32")
    assert lower(content, "cpu") == as_it_is(content)


def test_a_free_batch_is_left_alone():
    import tensorflow as tf

    inputs = keras.Input((14, 28, 3))
    model = keras.Model(inputs, layers.Conv2D(1, 7, padding="same")(inputs))
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, 14, 28, 3), tf.float32))
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    assert lower(content, "cpu") == as_it_is(content)


def test_a_free_batch_stays_free_where_sums_are_merged():
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    inputs = keras.Input((8, 8, 3))
    last = layers.Conv2D(1, 7, padding="same")
    model = random(keras.Model(inputs, layers.add([last(layers.ReLU()(inputs)), last(inputs)])))
    function = tf.function(lambda x: model(x, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, 8, 8, 3), tf.float32))
    content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    lowered = lower(content, "cpu")
    assert kinds(lowered).count("CONV_2D") == 1
    pixels = images(model, 4)
    interpreter = Interpreter(model_content=lowered)
    (entry,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(entry["index"], pixels.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], pixels)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, model.predict(pixels, verbose=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "merged"),
    [
        ("linear", True),
        ("activation of the sum", True),
        ("three", True),
        ("read elsewhere", False),
        ("activation of each", False),
        ("broadcast", False),
        ("other weights", False),
    ],
)
def test_sums_of_convolutions_keep_their_answers(case, merged):
    inputs = keras.Input((8, 8, 3))
    last = layers.Conv2D(4, 1, activation="relu" if case == "activation of each" else None)
    other = layers.Conv2D(4, 1) if case == "other weights" else last
    rows = (
        keras.ops.max(inputs, axis=1, keepdims=True)
        if case == "broadcast"
        else layers.ReLU()(inputs)
    )
    terms = [last(rows), other(inputs)]
    if case == "three":
        terms.append(last(layers.Activation("tanh")(inputs)))
    outputs = layers.add(terms)
    if case == "activation of the sum":
        outputs = layers.Activation("relu")(outputs)
    if case == "read elsewhere":
        outputs = layers.multiply([outputs, terms[0]])
    model = random(keras.Model(inputs, outputs))
    content = converted(model, "float32")
    lowered = lower(content, "cpu")
    assert (lowered != as_it_is(content)) == merged
    if merged:
        assert kinds(lowered).count("CONV_2D") == 1
    assert lower(lowered, "cpu") == lowered
    pixels = images(model)
    before = answers(content, pixels)
    assert np.ptp(before, axis=0).max() > 1
    np.testing.assert_allclose(answers(lowered, pixels), before, rtol=1e-5, atol=1e-5)
