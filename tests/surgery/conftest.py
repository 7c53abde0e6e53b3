"""A small network that the tests of the surgery share."""

import keras
import pytest

from tests.drawn import vary


@pytest.fixture(scope="module")
def small():
    """A residual block with a projection, one with an identity, and dropout on the branch."""
    x = inputs = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(x)
    for block, strides in (("a", 2), ("b", 1)):
        shortcut = x
        y = keras.layers.Conv2D(24, 3, strides, padding="same", name=f"{block}_conv1")(x)
        y = keras.layers.BatchNormalization(name=f"{block}_bn1")(y)
        y = keras.layers.ReLU(name=f"{block}_relu1")(y)
        y = keras.layers.Conv2D(24, 3, padding="same", name=f"{block}_conv2")(y)
        y = keras.layers.BatchNormalization(name=f"{block}_bn2")(y)
        y = keras.layers.Dropout(0.1, name=f"{block}_drop")(y)
        if strides == 2:
            shortcut = keras.layers.Conv2D(24, 1, strides, name=f"{block}_proj")(shortcut)
        x = keras.layers.Add(name=f"{block}_add")([shortcut, y] if strides == 2 else [y, shortcut])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return vary(keras.Model(inputs, keras.layers.Dense(5, name="scores")(x), name="small"))
