"""Heat maps against finite differences, on every backend and however a model is written."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import CBAM
from keras_cbam.visualize import grad_cam, grad_cam_plus_plus
from tests.backend import BACKEND, quick_on
from tests.visualize.reference import (
    CLASSES,
    heat_maps,
    images,
    mean_weights,
    network,
    weighted_weights,
)

pytestmark = pytest.mark.backends

METHODS = {grad_cam: mean_weights, grad_cam_plus_plus: weighted_weights}
METHOD = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)


@METHOD
@pytest.mark.parametrize("layer", ["inner", "last"])
def test_agrees_with_finite_differences(method, layer):
    model, pixels = network(), images()
    predicted = model.predict(pixels, verbose=0).argmax(-1)
    assert len(set(predicted)) > 1
    for given, classes in ((None, predicted), (2, [2] * 5), ([0, 1, 2, 3, 4], range(5))):
        expected = heat_maps(model, layer, pixels, classes, METHODS[method])
        assert np.ptp(expected, axis=0).max() > 0.1
        found = method(model, pixels, class_index=given, layer=layer)
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, expected, atol=1e-4)


@METHOD
def test_the_model_stays_as_it_was(method, tmp_path):
    model, pixels = network(), images()
    weights, scores = model.get_weights(), model.predict(pixels, verbose=0)
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    heat = method(model, pixels)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]
    np.testing.assert_array_equal(scores, model.predict(pixels, verbose=0))
    assert model.get_layer("head").activation is keras.activations.softmax
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(method(reloaded, pixels), heat, atol=1e-6)


def endings(model):
    """The same scores through every usual end of a classifier."""
    head, pooled = model.get_layer("head"), model.get_layer("pool").output
    linear = layers.Dense(CLASSES, name="scores")
    scores = linear(pooled)
    linear.set_weights(head.get_weights())
    yield keras.Model(model.input, scores)
    yield keras.Model(model.input, layers.Softmax()(scores))
    yield keras.Model(model.input, layers.Activation("softmax")(scores))
    yield keras.Model(model.input, layers.Activation("sigmoid")(scores))
    yield keras.Model(model.input, keras.ops.softmax(scores))
    yield keras.Model(model.input, keras.ops.sigmoid(scores))
    yield keras.Model(model.input, [layers.Softmax()(scores)])
    yield keras.Model(model.input, {"scores": layers.Softmax()(scores)})


def test_the_score_is_that_before_the_softmax():
    model, pixels = network(), images()
    expected = grad_cam(model, pixels, layer="inner")
    found = [grad_cam(each, pixels, layer="inner") for each in endings(network())]
    assert len(found) == 8
    for heat in found:
        np.testing.assert_allclose(heat, expected, atol=1e-5)


def test_layers_of_nested_models():
    flat, pixels = network(), images()
    body = keras.Model(flat.input, flat.get_layer("last").output, name="body")
    head = [flat.get_layer(name) for name in ("act", "pool", "head")]
    nested = keras.Sequential([keras.Input((12, 10, 3)), body, *head])
    for layer, address in (("inner", "body/inner"), ("last", "body/last")):
        np.testing.assert_allclose(
            grad_cam(nested, pixels, layer=address),
            grad_cam(flat, pixels, layer=layer),
            atol=1e-5,
        )
    inner = body.get_layer("inner")
    np.testing.assert_array_equal(
        grad_cam(nested, pixels, layer=inner), grad_cam(nested, pixels, layer="body/inner")
    )


def test_by_default_the_last_layer_with_places():
    model, pixels = network(), images()
    np.testing.assert_array_equal(grad_cam(model, pixels), grad_cam(model, pixels, layer="act"))


@METHOD
def test_batches_change_nothing(method):
    model, pixels, classes = network(), images(7), [0, 1, 2, 3, 4, 0, 1]
    whole = method(model, pixels, class_index=classes)
    parts = method(model, pixels, class_index=classes, batch_size=3)
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert method(model, pixels[:0]).shape == (0, 12, 10)


@METHOD
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(method, policy):
    def built(dtype):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((12, 10, 3))
        x = layers.Conv2D(8, 3, padding="same", dtype=dtype)(inputs)
        x = CBAM(dtype=dtype, name="cbam")(x)
        x = layers.GlobalAveragePooling2D(dtype=dtype)(layers.ReLU(dtype=dtype, name="act")(x))
        return keras.Model(inputs, layers.Dense(CLASSES, "softmax", dtype="float32")(x))

    wide, narrow = built("float32"), built(policy)
    narrow.set_weights(wide.get_weights())
    pixels = images()
    found = method(narrow, pixels, class_index=1)
    assert np.isfinite(found).all()
    assert found.max() == 1
    np.testing.assert_allclose(found, method(wide, pixels, class_index=1), atol=0.1)


@pytest.mark.skipif(BACKEND == "tensorflow", reason="no channels_first convolution on a CPU")
def test_channels_first():
    model, pixels = network(), images()
    keras.config.set_image_data_format("channels_first")
    try:
        inputs = keras.Input((3, 12, 10))
        x = layers.Conv2D(4, 3, strides=2, padding="same", name="inner")(inputs)
        x = layers.GlobalAveragePooling2D()(layers.Activation("tanh", name="act")(x))
        first = keras.Model(inputs, layers.Dense(CLASSES, "softmax", name="head")(x))
    finally:
        keras.config.set_image_data_format("channels_last")
    for name in ("inner", "head"):
        first.get_layer(name).set_weights(model.get_layer(name).get_weights())
    found = grad_cam(first, np.moveaxis(pixels, -1, 1), layer="inner", class_index=1)
    by_default = grad_cam(first, np.moveaxis(pixels, -1, 1), class_index=1)
    x = layers.GlobalAveragePooling2D()(
        layers.Activation("tanh", name="act")(model.get_layer("inner").output)
    )
    last = keras.Model(model.input, model.get_layer("head")(x))
    np.testing.assert_allclose(
        found, grad_cam(last, pixels, layer="inner", class_index=1), atol=1e-5
    )
    np.testing.assert_allclose(by_default, grad_cam(last, pixels, class_index=1), atol=1e-5)


def test_a_layer_used_twice_is_refused():
    inputs = keras.Input((8, 8, 3))
    conv = layers.Conv2D(3, 3, padding="same", name="twice")
    x = layers.GlobalAveragePooling2D()(conv(conv(inputs)))
    with pytest.raises(ValueError, match="Layer twice is used several times"):
        grad_cam(keras.Model(inputs, x), np.zeros((1, 8, 8, 3)), layer="twice")


@quick_on("tensorflow", "torch")
def test_a_nested_model_called_twice_is_refused():
    inputs, body = keras.Input((12, 10, 3)), network()
    body = keras.Model(body.input, body.get_layer("last").output, name="body")
    both = layers.Concatenate()([body(inputs), body(keras.ops.flip(inputs, 1))])
    pooled = layers.GlobalAveragePooling2D()(layers.ReLU(name="act")(both))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(pooled))
    assert grad_cam(model, images()).shape == (5, 12, 10)
    with pytest.raises(ValueError, match="Layer body/inner is used several times"):
        grad_cam(model, images(), layer="body/inner")


@pytest.mark.parametrize(
    "end",
    [lambda x: keras.ops.mean(x, (1, 2, 3)), layers.Softmax(), lambda x: [keras.ops.max(x)] * 2],
    ids=["one number", "segmentation", "two outputs"],
)
def test_what_is_no_classifier_is_refused(end):
    inputs = keras.Input((12, 10, 3))
    model = keras.Model(inputs, end(layers.Conv2D(4, 3, padding="same")(inputs)))
    with pytest.raises(ValueError, match=r"Expected a (classifier|model of one)"):
        grad_cam(model, images())


def test_a_block_that_is_a_model_of_its_own_call_is_one_layer():
    class Block(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(4, 3, padding="same")

        def call(self, inputs):
            return self.conv(inputs)

        def get_config(self):
            return {}

        @classmethod
        def from_config(cls, config):
            return cls()

    inputs = keras.Input((12, 10, 3))
    x = layers.GlobalAveragePooling2D()(layers.ReLU(name="act")(Block()(inputs)))
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    assert grad_cam(model, images()).shape == (5, 12, 10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": "nowhere"}, "`layer` must be a layer of the model with a feature map"),
        ({"layer": "head"}, "`layer` must be a layer of the model with a feature map"),
        ({"class_index": CLASSES}, "`class_index` must be one of 5 classes"),
        ({"class_index": -1}, "`class_index` must be one of 5 classes"),
        ({"class_index": [0, 1]}, "or one class for each of 5 images"),
        ({"class_index": 0.5}, "`class_index` must be one of 5 classes"),
    ],
)
def test_bad_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        grad_cam(network(), images(), **given)


def test_a_model_without_a_graph_is_refused():
    class Opaque(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(TypeError, match="Expected a functional or a built Sequential"):
        grad_cam(Opaque(), images())


def two_inputs(structure):
    """A classifier of an image and of four numbers, which also sees a second image."""
    keras.utils.set_random_seed(0)
    image, other = keras.Input((12, 8, 3), name="image"), keras.Input((6, 6, 1), name="other")
    numbers = keras.Input((4,), name="numbers")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="seen")(image)
    y = layers.Conv2D(8, 3, activation="relu", name="aside")(other)
    pooled = [layers.GlobalAveragePooling2D()(each) for each in (x, y)]
    scores = layers.Dense(3, "softmax")(layers.Concatenate()([*pooled, numbers]))
    inputs = {"image": image, "numbers": numbers, "other": other}
    return keras.Model(structure(inputs), scores)


@quick_on("tensorflow", "torch")
@pytest.mark.parametrize(
    "structure", [dict, lambda inputs: list(inputs.values())], ids=["dictionary", "list"]
)
def test_several_inputs(structure, rng):
    model = two_inputs(structure)
    given = {
        "image": rng.normal(size=(3, 12, 8, 3)).astype("float32"),
        "numbers": rng.normal(size=(3, 4)).astype("float32"),
        "other": rng.normal(size=(3, 6, 6, 1)).astype("float32"),
    }
    found = grad_cam(model, structure(given), class_index=1, layer="seen", batch_size=2)
    # The score is linear in the pooled map, so that a channel's weight is that of the last layer.
    kernel = keras.ops.convert_to_numpy(model.layers[-1].kernel)[:8, 1]
    seen = keras.ops.convert_to_numpy(model.get_layer("seen")(given["image"]))
    heat = np.maximum(seen @ kernel, 0)
    assert np.ptp(heat) > 0
    np.testing.assert_allclose(found, heat / heat.max((1, 2), keepdims=True), atol=1e-5)
    assert np.array_equal(found, grad_cam(model, given, class_index=1, layer="seen", batch_size=2))
    assert grad_cam(model, structure(given), layer="aside").shape == (3, 6, 6)
    with pytest.raises(ValueError, match=r"Expected an array for each of the inputs \['image'"):
        grad_cam(model, given["image"])


@quick_on("tensorflow", "torch")
def test_one_sigmoid_has_two_classes(rng):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="seen")(inputs)
    model = keras.Model(inputs, layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling2D()(x)))
    images = rng.normal(size=(4, 8, 8, 3)).astype("float32")
    seen = keras.ops.convert_to_numpy(model.get_layer("seen")(images))
    kernel = keras.ops.convert_to_numpy(model.layers[-1].kernel)[:, 0]
    heats = []
    for index, sign in ((0, -1), (1, 1)):
        heat = np.maximum(seen @ (sign * kernel), 0)
        heats.append(heat / heat.max((1, 2), keepdims=True))
        np.testing.assert_allclose(grad_cam(model, images, class_index=index), heats[-1], atol=1e-5)
    yes = keras.ops.convert_to_numpy(model(images))[:, 0] > 0.5
    expected = np.where(yes[:, None, None], heats[1], heats[0])
    np.testing.assert_allclose(grad_cam(model, images), expected, atol=1e-5)
    with pytest.raises(ValueError, match="one of 2 classes"):
        grad_cam(model, images, class_index=2)


def test_weights_that_are_no_numbers_are_refused():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="seen")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.get_layer("seen").bias.assign([np.nan, 0, 0, 0])
    with pytest.raises(ValueError, match="Expected heat of finite numbers"):
        grad_cam(model, np.ones((1, 8, 8, 3)), class_index=0)


@quick_on("tensorflow", "torch")
@pytest.mark.parametrize("rank", [1, 3])
def test_maps_of_other_ranks_are_refused(rank):
    inputs = keras.Input((8,) * rank + (3,))
    conv, pool = {
        1: (layers.Conv1D, layers.GlobalAveragePooling1D),
        3: (layers.Conv3D, layers.GlobalAveragePooling3D),
    }[rank]
    model = keras.Model(inputs, layers.Dense(2)(pool()(conv(4, 3)(inputs))))
    with pytest.raises(ValueError, match="feature maps of height and width, of rank 4"):
        grad_cam(model, np.ones((1, *(8,) * rank, 3)))
