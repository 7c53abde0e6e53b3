"""The predictions of a classifier for images, with what it attends to, in one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, check_choice
from keras_cbam.surgery.addresses import walk
from keras_cbam.visualize.attention_maps import attention_maps
from keras_cbam.visualize.classes import both_probabilities, class_count
from keras_cbam.visualize.grad_cam import grad_cam, grad_cam_plus_plus

# The names that TensorFlow accepts for a layer within a model.
SCOPE = re.compile(r"[A-Za-z0-9_.\\/>-]+")

METHODS: dict[str, Callable[..., np.ndarray]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
}


@dataclass(frozen=True)
class Explanation:
    """One image, the model's prediction for it, and what the model attends to.

    Attributes:
        image: `(height, width, 3)` uint8.
        predicted: the class that the model predicts.
        probability: probability of the predicted class.
        shown: the class that the heat map explains.
        shown_probability: probability of the shown class.
        heat: heat map `(height, width)` in [0, 1].
        spatial: the spatial gates of each attention layer, `(height, width)`, by layer.
        channel: the channel gates of each attention layer, `(channels,)`, by layer.
        places: height and width of each attention layer's feature map, by layer.
    """

    image: np.ndarray
    predicted: str
    probability: float
    shown: str
    shown_probability: float
    heat: np.ndarray
    spatial: dict[str, np.ndarray]
    channel: dict[str, np.ndarray]
    places: dict[str, tuple[int, int]]


def explain(
    model: keras.Model,
    pixels: Any,
    *,
    labels: Sequence[str] | None = None,
    class_index: Any = None,
    layer: str | None = None,
    method: str = "grad-cam",
    preprocess: Callable[[np.ndarray], np.ndarray] | None = None,
    batch_size: int = 32,
) -> list[Explanation]:
    """Explain the predictions of a classifier for images.

    Args:
        model: a functional or a built Sequential classifier of `channels_last` images. Its output
            is probabilities, or scores, to which a softmax is applied. A single sigmoid stands for
            two classes, 0 and 1.
        pixels: `(images, height, width, 3)` RGB in 0..255, or `(images, height, width, 1)` gray.
        labels: names of the classes. Defaults to their numbers.
        class_index: one class for all images, or one class for each. `None` takes the predicted
            class.
        layer: as for `grad_cam`.
        method: `"grad-cam"` or `"grad-cam++"`.
        preprocess: function from pixels to the inputs of the model. Without it, the inputs are the
            pixels.
        batch_size: number of images in a batch. Defaults to `32`.

    Returns:
        A list with an `Explanation` for each image.

    Raises:
        InputError: if the method is unknown, the number of labels differs from that of classes,
            there is only one class, scores are not finite, or TensorFlow does not accept the name
            of a layer.
        TypeError: in the same cases as `grad_cam`.
        ValueError: in the same cases as `grad_cam`.
    """
    check_choice("a method", method, METHODS)
    pixels = np.asarray(pixels, "float32")
    inputs = pixels if preprocess is None else preprocess(pixels)
    scores = probabilities(model, inputs, batch_size=batch_size)
    names = list(map(str, range(scores.shape[-1]))) if labels is None else list(labels)
    if len(names) != scores.shape[-1]:
        raise InputError(
            f"Expected {scores.shape[-1]} labels, one per class. Received: {len(names)}"
        )
    predicted = scores.argmax(-1)
    shown = predicted if class_index is None else np.broadcast_to(class_index, len(pixels))
    heat = METHODS[method](model, inputs, class_index=shown, layer=layer, batch_size=batch_size)
    maps = attention_maps(model, inputs, batch_size=batch_size)
    return [
        Explanation(
            image=_colors(pixels[i]),
            predicted=names[predicted[i]],
            probability=float(scores[i, predicted[i]]),
            shown=names[shown[i]],
            shown_probability=float(scores[i, shown[i]]),
            heat=heat[i],
            spatial={k: m.spatial[i] for k, m in maps.items() if m.spatial is not None},
            channel={k: m.channel[i] for k, m in maps.items() if m.channel is not None},
            places={k: m.shape for k, m in maps.items()},
        )
        for i in range(len(pixels))
    ]


def _colors(pixels: np.ndarray) -> np.ndarray:
    """Return one image, in color or gray, as `(height, width, 3)` uint8."""
    three = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return three.round().clip(0, 255).astype("uint8")


def _check_weights(model: keras.Model) -> None:
    """Raise an `InputError` for weights that are not finite, which a ReLU may hide from scores."""
    for weight in model.weights:
        if not np.isfinite(np.asarray(keras.ops.convert_to_numpy(weight), "float32")).all():
            raise InputError(f"Expected finite weights. Received: NaN or infinity in {weight.path}")


def probabilities(model: keras.Model, inputs: Any, *, batch_size: int = 32) -> np.ndarray:
    """Return the probabilities `(images, classes)` of a classifier for images.

    Raises:
        InputError: in the same cases as `explain`.
        ValueError: if the output is not `(batch, classes)`.
    """
    known = class_count(model)
    if known == 1:
        raise InputError(
            "Expected a classifier with at least 2 outputs, one per class, or with one sigmoid. "
            "Received: one output without a sigmoid"
        )
    check_names(model)
    _check_weights(model)
    scores = np.asarray(model.predict(inputs, batch_size=batch_size, verbose=0), "float32")
    wrong = np.flatnonzero(~np.isfinite(scores).all(-1))
    if len(wrong):
        raise InputError(
            f"Expected finite scores. Received: NaN or infinity for image {wrong[0]}, and for "
            f"{len(wrong)} of {len(scores)} images in all; weights of the model may be NaN"
        )
    scores = np.asarray(both_probabilities(scores, known))
    if scores.min() < 0 or scores.max() > 1:
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
    return scores


def check_names(model: keras.Model) -> None:
    """Raise an `InputError` for a layer whose name TensorFlow does not accept."""
    if keras.config.backend() != "tensorflow":
        return
    for address, layer in walk(model):
        if not SCOPE.fullmatch(layer.name):
            raise InputError(
                "Expected layer names of letters, digits and _ . \\ / > -, as TensorFlow requires. "
                f"Received: {address!r}; rename the layer and save the model again"
            )
