"""Grad-CAM in NumPy, float64, by finite differences, and a network whose head is written out."""

import keras
import numpy as np
from keras import layers

STEP = 1e-5
CLASSES = 5


def network(activation="softmax", seed=0):
    """A classifier with a way around its inner feature map `inner`, and `last` behind it."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((12, 10, 3), name="image")
    inner = layers.Conv2D(4, 3, strides=2, padding="same", name="inner")(inputs)
    squeezed = layers.Conv2D(4, 1, activation="tanh", name="squeezed")(inner)
    around = layers.AveragePooling2D(2, padding="same", name="around")(inputs)
    around = layers.Conv2D(4, 1, name="widened")(around)
    last = layers.Add(name="last")([squeezed, inner, around])
    pooled = layers.GlobalAveragePooling2D(name="pool")(layers.Activation("tanh", name="act")(last))
    outputs = layers.Dense(CLASSES, activation=activation, name="head")(pooled)
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.8, w.shape) for w in model.get_weights()])
    return model


def images(count=5):
    """Noise of different colors, so that classes differ."""
    rng = np.random.default_rng(1)
    noise, colors = rng.uniform(-1, 1, (count, 12, 10, 3)), rng.normal(0, 1, (count, 1, 1, 3))
    return (noise + colors).astype("float32")


def feature_maps(model, pixels, names):
    probe = keras.Model(model.input, [model.get_layer(name).output for name in names])
    found = keras.tree.flatten(probe.predict(pixels, verbose=0))
    return [each.astype("float64") for each in found]


def scores_of(model, name, pixels):
    """The scores before the softmax as a function of the feature map `name`, for one image."""
    weights = {
        each.name: [w.astype("float64") for w in each.get_weights()] for each in model.layers
    }
    kernel, bias = weights["head"]

    def after_last(last):
        return np.tanh(last).mean((0, 1)) @ kernel + bias

    if name != "inner":
        return lambda index: after_last
    (around,) = feature_maps(model, pixels, ["widened"])
    squeeze, squeeze_bias = weights["squeezed"]
    return lambda index: (
        lambda inner: after_last(
            np.tanh(inner @ squeeze[0, 0] + squeeze_bias) + inner + around[index]
        )
    )


def slopes_of(function, x):
    """The derivative of `function(x)`, a scalar, by each element."""
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += STEP
        below[index] -= STEP
        found[index] = (function(above) - function(below)) / (2 * STEP)
    return found


def mean_weights(features, slopes):
    return slopes.mean((0, 1))


def weighted_weights(features, slopes):
    below = 2 * slopes**2 + features.sum((0, 1)) * slopes**3
    shares = np.divide(slopes**2, below, out=np.zeros(slopes.shape), where=below != 0)
    return (shares * np.maximum(slopes, 0)).sum((0, 1))


def heat_maps(model, name, pixels, classes, weigh):
    """The heat of each image, in [0, 1]."""
    (features,) = feature_maps(model, pixels, [name])
    scores = scores_of(model, name, pixels)
    found = []
    for index, (feature, chosen) in enumerate(zip(features, classes, strict=True)):
        slopes = slopes_of(lambda x, i=index, c=chosen: scores(i)(x)[c], feature)
        heat = np.maximum((feature * weigh(feature, slopes)).sum(-1), 0)
        heat = bilinear(heat, pixels.shape[1:3])
        found.append(heat / heat.max() if heat.max() > 0 else heat)
    return np.array(found)


def bilinear(x, size):
    """A map scaled to `size` with pixels taken at their centers."""
    for axis, length in enumerate(size):
        places = (np.arange(length) + 0.5) * x.shape[axis] / length - 0.5
        places = np.clip(places, 0, x.shape[axis] - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (places - low).reshape([-1 if a == axis else 1 for a in range(2)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x
