"""What a classifier says of images, and what it attends to, in one go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.visualize.attention_maps import attention_maps
from keras_cbam.visualize.grad_cam import grad_cam, grad_cam_plus_plus

METHODS: dict[str, Callable[..., np.ndarray]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
}


@dataclass(frozen=True)
class Explanation:
    """One image, what the model says of it, and what it attends to.

    Attributes:
        image: `(height, width, 3)` uint8.
        predicted: the class that the model predicts.
        probability: its probability.
        shown: the class that the heat is of.
        shown_probability: its probability.
        heat: `(height, width)` in [0, 1].
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
    """Explain what a classifier says of images.

    Args:
        model: a functional or a built Sequential classifier of `channels_last` images, of
            probabilities, or of scores, of which the softmax is taken.
        pixels: `(images, height, width, 3)` RGB in 0..255.
        labels: names of the classes; by default their numbers.
        class_index: a class for all images, or one for each; `None` for those that the model
            predicts.
        layer: as for `grad_cam`.
        method: `"grad-cam"` or `"grad-cam++"`.
        preprocess: what the model's inputs are of pixels; by default the pixels.
        batch_size: images that are run at once. Defaults to `32`.

    Returns:
        An `Explanation` for each image.

    Raises:
        InputError: on an unknown method, labels that are not as many as classes, or one class.
        TypeError: as `grad_cam` does.
        ValueError: as `grad_cam` does.
    """
    if method not in METHODS:
        raise InputError(f"Expected a method of {', '.join(METHODS)}. Received: {method}")
    pixels = np.asarray(pixels, "float32")
    inputs = pixels if preprocess is None else preprocess(pixels)
    scores = np.asarray(model.predict(inputs, batch_size=batch_size, verbose=0), "float32")
    if scores.shape[-1] == 1:
        raise InputError(
            "Expected a classifier of at least 2 classes, one output each. Received: 1"
        )
    if scores.min() < 0 or scores.max() > 1:
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
    names = list(map(str, range(scores.shape[-1]))) if labels is None else list(labels)
    if len(names) != scores.shape[-1]:
        raise InputError(f"Expected {scores.shape[-1]} labels, one a class. Received: {len(names)}")
    predicted = scores.argmax(-1)
    shown = predicted if class_index is None else np.broadcast_to(class_index, len(pixels))
    heat = METHODS[method](model, inputs, class_index=shown, layer=layer, batch_size=batch_size)
    maps = attention_maps(model, inputs, batch_size=batch_size)
    return [
        Explanation(
            image=pixels[i].round().clip(0, 255).astype("uint8"),
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
