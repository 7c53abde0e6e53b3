"""Gradients in float64 against finite differences of the reference."""

import keras
import numpy as np
import pytest

from tests.backend import BACKEND
from tests.layers.gradients import gradients
from tests.layers.registry import (
    double_precision,
    every_variant,
    named_weights,
    wide_bottleneck,
)

pytestmark = pytest.mark.backends

STEP = 1e-6
# On JAX and PyTorch Keras's own mean and batch normalization pass through float32, and in training
# mode the latter enlarges what is lost by one over the deviation of the batch.
TOLERANCE = 1e-7 if BACKEND == "tensorflow" else 1e-5
BATCH_NORM_TOLERANCE = 1e-7 if BACKEND == "tensorflow" else 1e-3


@every_variant
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_gradients_agree_with_finite_differences(variant, training, rng):
    x = rng.normal(0, 1, (5, 2, 3, 4))
    weigh = rng.normal(0, 1, x.shape)
    with double_precision("float64"):
        layer = variant.built(x.shape, dtype="float64", **wide_bottleneck(variant))
        weights = named_weights(layer)
        trainable = list(named_weights(layer, layer.trainable_weights))
        by_x, by_weights = gradients(
            layer,
            keras.ops.convert_to_tensor(x, dtype="float64"),
            lambda y: keras.ops.sum(y * keras.ops.convert_to_tensor(weigh, dtype="float64")),
            training,
        )

    def loss():
        outputs, _ = variant.reference(x, weights, training=training)
        return (outputs * weigh).sum()

    normalized = training and any("moving_mean" in name for name in weights)
    tolerance = BATCH_NORM_TOLERANCE if normalized else TOLERANCE
    # A bias before a normalization by the batch moves nothing.
    for name, found in [("x", by_x), *zip(trainable, by_weights, strict=True)]:
        array = x if name == "x" else weights[name]
        expected = central_differences(loss, array)
        scale = np.abs(expected).max()
        if not (training and f"{name.removesuffix('/bias')}_norm/beta" in trainable):
            assert scale > 1e-3, name  # The reference feels this weight.
        assert np.abs(found - expected).max() < tolerance * max(scale, 1), name


def central_differences(loss, array):
    """The derivative of `loss()` by each element of an array that it reads."""
    found = np.zeros(array.shape)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + STEP
        above = loss()
        array[index] = value - STEP
        below = loss()
        array[index] = value
        found[index] = (above - below) / (2 * STEP)
    return found
