"""Images, inputs and networks of drawn numbers, so that outputs vary."""

import keras
import numpy as np


def write_images(folder, rng, *, count, size=24):
    from PIL import Image

    for name, color in (("blue", (40, 40, 200)), ("red", (200, 40, 40))):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            noise = rng.integers(-30, 30, (size, size, 3))
            pixels = np.clip(np.array(color) + noise, 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{index}.jpg")
    return folder


def vary(model, seed=0):
    """Give a model random normalization and layer scale, with statistics that fit its activations.

    A fresh network answers nearly the same to every image, and agreement would prove nothing.
    """
    rng = np.random.default_rng(seed)
    layers = list(model._flatten_layers())  # those inside blocks and nested models too
    for variable in {id(v): v for layer in layers for v in layer.variables}.values():
        if variable.name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name == "beta":
            variable.assign(rng.normal(0, 0.5, variable.shape))
    normalizations = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(example(model, rng, count=8), training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
        # To divide by the small variance of a nearly constant channel would amplify rounding, layer
        # after layer, until agreement to rounding proves nothing either.
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        layer.moving_variance.assign(np.maximum(variance, 0.7 * variance.mean()))
    return model


def example(model, rng, count=4):
    """Random inputs of a model, pixels in 0..255, in the structure that it takes."""

    def draw(tensor):
        shape = [size or 64 for size in tensor.shape[1:]]
        return rng.uniform(0, 255, (count, *shape)).astype(tensor.dtype)

    sequential = isinstance(model, keras.Sequential)
    return keras.tree.map_structure(draw, model.inputs[0] if sequential else model.input)
