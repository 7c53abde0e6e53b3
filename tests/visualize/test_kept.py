"""What is compiled once for a model is right after the model has changed, and goes when it goes."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam import CBAM
from keras_cbam.visualize import attention_maps, grad_cam, grad_cam_plus_plus
from keras_cbam.visualize.kept import _KEPT
from tests.visualize.reference import CLASSES, images

pytestmark = pytest.mark.backends

FUNCTIONS = [attention_maps, grad_cam, grad_cam_plus_plus]
FUNCTION = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda each: each.__name__)


def network():
    """A classifier with attention off its start."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 10, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(4, 3, padding="same", activation="tanh")(CBAM(name="cbam")(x))
    x = layers.Dense(CLASSES, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    disturb(model, seed=0)
    return model


def disturb(model, seed):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" not in weight.path:
            weight.assign_add(rng.normal(0, 0.4, weight.shape))


def flat(found):
    """All maps of a call in one array."""
    arrays = keras.tree.flatten(found if not isinstance(found, dict) else list(found.values()))
    return np.concatenate([np.ravel(each) for each in arrays if each is not None]).astype("float64")


def as_new(function, model, pixels):
    """What the function says of a model that it has not seen."""
    fresh = keras.models.clone_model(model)
    fresh.set_weights(model.get_weights())
    return flat(function(fresh, pixels))


def probe_of(model):
    (found,) = _KEPT[model].values()
    return found.probe


@FUNCTION
def test_compiled_once_for_all_batches(function):
    model, pixels = network(), images(7)
    first = flat(function(model, pixels, batch_size=3))
    probe = probe_of(model)
    np.testing.assert_array_equal(flat(function(model, pixels, batch_size=3)), first)
    function(model, pixels[:2])
    assert probe_of(model) is probe


@FUNCTION
def test_the_weights_are_those_of_now(function):
    model, pixels = network(), images()
    before, probe = flat(function(model, pixels)), probe_of(model)
    disturb(model, seed=1)
    after = flat(function(model, pixels))
    assert probe_of(model) is probe
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(after, as_new(function, model, pixels), atol=1e-5)


@FUNCTION
def test_a_changed_layer_is_seen(function):
    model, pixels = network(), images()
    before = flat(function(model, pixels))
    model.layers[1].activation = keras.activations.tanh
    after = flat(function(model, pixels))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, as_new(function, model, pixels), atol=1e-5)


def test_normalization_adapted_anew_is_seen():
    normalization = layers.Normalization(mean=None)
    normalization.adapt(images())
    model = network()
    whole = keras.Sequential([keras.Input((12, 10, 3)), normalization, model])
    pixels = images()
    before = flat(grad_cam(whole, pixels, class_index=1))
    normalization.adapt(5 * pixels + 3)
    after = flat(grad_cam(whole, pixels, class_index=1))
    expected = flat(grad_cam(model, np.asarray(normalization(pixels)), class_index=1))
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, expected, atol=1e-4)


@FUNCTION
def test_nothing_keeps_the_model(function):
    model, pixels = network(), images()
    function(model, pixels)
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None
