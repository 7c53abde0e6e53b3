"""Deletion, insertion and energy on maps and models whose answers are known."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from keras_cbam.visualize import energy_inside, faithfulness

SIZE = 10


class Corner(layers.Layer):
    """Probability of class 1: how much of the upper left quarter, 25 of 100 places, is 1."""

    def call(self, inputs):
        share = keras.ops.mean(inputs[:, : SIZE // 2, : SIZE // 2, 0], axis=(1, 2))
        return keras.ops.stack([1 - share, share], axis=-1)


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((SIZE, SIZE, 1))
    return keras.Model(inputs, Corner()(inputs))


@pytest.fixture(scope="module")
def images():
    image = np.zeros((1, SIZE, SIZE, 1), "float32")
    image[:, : SIZE // 2, : SIZE // 2] = 1
    return image


def heat_of(order):
    return np.linspace(1, 0, SIZE * SIZE)[np.argsort(order)].reshape(1, SIZE, SIZE)


@pytest.fixture(scope="module")
def orders(images):
    """Places by heat: those of the object first, and last."""
    inside = images.ravel() > 0
    first = np.argsort(~inside, kind="stable")
    return first, first[::-1]


def test_areas_are_those_of_the_curves(model, images, orders):
    best, worst = (faithfulness(model, images, heat_of(order), 1) for order in orders)
    gray = 0.25  # the mean color
    shares = np.linspace(0, 1, 21)
    found_first = np.minimum(shares / 0.25, 1)
    np.testing.assert_allclose(best.deletion_curves[0], 1 - found_first * (1 - gray), atol=1e-6)
    found_last = np.maximum(shares - 0.75, 0) / 0.25
    np.testing.assert_allclose(worst.deletion_curves[0], 1 - found_last * (1 - gray), atol=1e-6)
    np.testing.assert_allclose(best.deletion, np.trapezoid(best.deletion_curves, shares))
    np.testing.assert_allclose(best.insertion, np.trapezoid(best.insertion_curves, shares))
    assert best.insertion_curves[0, -1] == best.deletion_curves[0, 0] == 1
    assert best.deletion < worst.deletion


def test_insertion_starts_from_a_blur():
    """A bright square on black in an image large enough for the blur to spread it."""
    size, side = 112, 28
    image = np.zeros((1, size, size, 1), "float32")
    image[:, :side, :side] = 1
    inputs = keras.Input((size, size, 1))
    share = keras.ops.mean(inputs[:, :side, :side, 0], axis=(1, 2))
    model = keras.Model(inputs, keras.ops.stack([1 - share, share], axis=-1))
    heat = image[..., 0]
    best, worst = (faithfulness(model, image, each, 1, steps=4) for each in (heat, 1 - heat))
    # Of the blurred square, what stays within: along each axis, the mean of a Gaussian step of 2.5
    # pixels over 28 places; beyond the border the image goes on.
    distance = np.arange(side)[::-1] + 0.5
    within = np.array([0.5 * (1 + math.erf(d / 2.5 / math.sqrt(2))) for d in distance]).mean()
    np.testing.assert_allclose(best.insertion_curves[0, 0], within**2, atol=2e-3)
    assert within**2 < 0.94
    np.testing.assert_allclose(best.insertion_curves[0, 1:], 1, atol=1e-6)
    np.testing.assert_allclose(worst.insertion_curves[0, :4], within**2, atol=0.06)
    assert best.insertion > worst.insertion + 0.03


def test_heat_of_whole_numbers_is_ranked_as_numbers(model, images, orders):
    heat = np.zeros((1, SIZE, SIZE), "uint8")
    heat.ravel()[orders[0]] = np.linspace(255, 0, SIZE * SIZE).astype("uint8")
    found = faithfulness(model, images, heat, 1)
    expected = faithfulness(model, images, heat.astype("float64"), 1)
    np.testing.assert_array_equal(found.deletion_curves, expected.deletion_curves)


@pytest.mark.parametrize("given", [{"steps": 0}, {"class_index": 2}, {"class_index": -1}])
def test_bad_arguments(model, images, given):
    with pytest.raises(
        ValueError, match="Expected at least 1 step, and class numbers of at least 0 and below 2"
    ):
        faithfulness(model, images, images[..., 0], **{"class_index": 1, **given})


def test_one_class_for_all_and_one_for_each(model, images, orders):
    pixels, heat = images.repeat(2, 0), heat_of(orders[0]).repeat(2, 0)
    both = faithfulness(model, pixels, heat, [1, 0], steps=4)
    one, other = (faithfulness(model, pixels, heat, c, steps=4) for c in (1, 0))
    assert both.deletion.shape == (2,)
    assert both.deletion_curves.shape == (2, 5)
    np.testing.assert_array_equal(both.deletion, [one.deletion[0], other.deletion[1]])


def test_equally_hot_places_are_in_no_direction(model, images):
    """With no heat at all, a fifth of the places takes about a fifth of the object."""
    flat = faithfulness(model, images, np.zeros((1, SIZE, SIZE)), 1, steps=5)
    expected = 1 - np.linspace(0, 1, 6) * 0.75
    np.testing.assert_allclose(flat.deletion_curves[0], expected, atol=0.12)


def test_heat_of_another_shape_is_refused(model, images):
    with pytest.raises(ValueError, match=r"heat of shape \(1, 10, 10\)"):
        faithfulness(model, images, np.zeros((1, 5, 5)), 1)


def test_energy_inside_boxes():
    heat = np.zeros((3, 4, 6))
    heat[0, 1, 2], heat[0, 3, 5] = 3, 1
    heat[1] = 1
    inside = energy_inside(heat, [[(2, 1, 3, 2)], [(0, 0, 3, 2), (0, 0, 3, 4)], [(0, 0, 6, 4)]])
    np.testing.assert_allclose(inside, [0.75, 0.5, 0])
    assert energy_inside(heat[:1], [[]]) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_heat_that_is_not_finite_is_refused(model, images, value):
    heat = np.zeros((1, SIZE, SIZE))
    heat[0, 3, 3] = value
    with pytest.raises(ValueError, match="Received: NaN or infinity for image 0"):
        faithfulness(model, images, heat, 1)
    with pytest.raises(ValueError, match="Received: NaN or infinity for image 0"):
        energy_inside(heat, [[(0, 0, 5, 5)]])


def test_one_sigmoid_stands_for_two_classes(model, images):
    inputs = keras.Input((SIZE, SIZE, 1))
    share = Corner()(inputs)[:, 1:]
    logit = keras.ops.log(share + 1e-3) - keras.ops.log(1 - share + 1e-3)
    binary = keras.Model(inputs, layers.Activation("sigmoid")(logit))
    heat = heat_of(np.arange(SIZE * SIZE))
    found = [faithfulness(binary, images, heat, index, steps=4) for index in (0, 1)]
    np.testing.assert_allclose(found[0].deletion_curves + found[1].deletion_curves, 1, atol=1e-6)
    assert np.ptp(found[1].deletion_curves) > 0.1
