"""Grad-CAM and Grad-CAM++: heat maps of where in the image a class score comes from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cbam.compiled import gradient, in_batches
from keras_cbam.surgery.addresses import walk
from keras_cbam.surgery.graph import has_graph
from keras_cbam.visualize.classes import both_scores, class_count
from keras_cbam.visualize.inputs import image_input, input_arrays, packed
from keras_cbam.visualize.kept import kept
from keras_cbam.visualize.probe import Probe, is_channels_first

BATCH_SIZE = 32
# Stands for the class that the model predicts.
PREDICTED = -1


def grad_cam(
    model: keras.Model,
    images: Any,
    *,
    class_index: Any = None,
    layer: str | keras.layers.Layer | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Return heat maps of where the score of a class comes from.

    [Grad-CAM](https://arxiv.org/abs/1610.02391) weights each channel of a feature map by the mean
    of the score's gradient over the channel's positions. It adds the weighted channels and sets
    negative values to zero. The score is the one before the softmax or sigmoid of the last layer.
    The heat is scaled bilinearly to the image, then divided by its maximum.

    Args:
        model: a functional or a built Sequential classifier, which may contain nested models. It is
            not changed.
        images: inputs of the model, `(images, height, width, 3)`, or `(images, 3, height, width)`
            if the first layer with a data format is `channels_first`. A model of several inputs
            takes a structure of arrays, or a dictionary by the names of its inputs. The heat then
            belongs to the first image that the layer reads.
        class_index: one class for all images, or one class for each. `None` takes the predicted
            class. A model with a single sigmoid has two classes: the heat of class 1 speaks for a
            high output, the heat of class 0 against it.
        layer: the layer whose output is the feature map, or its name. A layer inside a nested model
            is named by that model's name, a slash, and its own name. Defaults to the last layer
            with more than one position.
        batch_size: number of images in a batch. Defaults to `32`.

    Returns:
        `(images, height, width)` float32 in [0, 1]; all zeros if no position speaks for the class.

    Raises:
        TypeError: if the model has no graph, or has a layer that cannot be copied.
        ValueError: if the layer does not exist, has no feature map or is used several times, if a
            class does not exist, if the model has several outputs or its output is not
            `(batch, classes)`, or if the heat is not finite, for example because weights are NaN.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3))
        >>> grad_cam(model, np.zeros((2, 96, 96, 3)), class_index=[281, 207]).shape
        (2, 96, 96)
    """
    return _heat(_mean_gradient, model, images, class_index, layer, batch_size)


def grad_cam_plus_plus(
    model: keras.Model,
    images: Any,
    *,
    class_index: Any = None,
    layer: str | keras.layers.Layer | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Return heat maps by [Grad-CAM++](https://arxiv.org/abs/1710.11063).

    It differs from `grad_cam` in the weight of a channel: a weighted sum of the positive gradients,
    equation 19 with the exponential of the score. With this weight, several objects of a class all
    count.

    Args:
        model: as for `grad_cam`.
        images: as for `grad_cam`.
        class_index: as for `grad_cam`.
        layer: as for `grad_cam`.
        batch_size: as for `grad_cam`.

    Returns:
        `(images, height, width)` float32 in [0, 1].

    Raises:
        TypeError: in the same cases as `grad_cam`.
        ValueError: in the same cases as `grad_cam`.
    """
    return _heat(_weighted_gradient, model, images, class_index, layer, batch_size)


def _mean_gradient(features: Any, slopes: Any) -> Any:
    return ops.mean(slopes, axis=(1, 2), keepdims=True)


def _weighted_gradient(features: Any, slopes: Any) -> Any:
    # The derivatives of exp(score) are powers of the slope g times exp(score), which cancels. What
    # remains is g**2 / (2 * g**2 + sum(A) * g**3). It equals `shares` if g is not zero. If g is
    # zero, the position adds nothing.
    below = 2 + ops.sum(features, axis=(1, 2), keepdims=True) * slopes
    shares = ops.where(below == 0, 0.0, 1 / ops.where(below == 0, 1.0, below))
    return ops.sum(shares * ops.relu(slopes), axis=(1, 2), keepdims=True)


def _heat(
    weigh: Callable[[Any, Any], Any],
    model: keras.Model,
    images: Any,
    class_index: Any,
    layer: str | keras.layers.Layer | None,
    batch_size: int,
) -> np.ndarray:
    arrays = input_arrays(model, images)
    chosen = _classes(class_index, len(arrays[0]), class_count(model))
    found = feature_layer(model, layer)
    shapes = tuple(array.shape[1:] for array in arrays)
    shape = shapes[image_input(model, found)]
    size = shape[1:] if is_channels_first(model) else shape[:2]
    if not len(arrays[0]):
        return np.zeros((0, *size), "float32")
    make = partial(_probed, model, found, weigh, shapes, size)
    kept_heat = kept(model, weigh.__name__, (id(found), shapes), make)
    heat: np.ndarray = in_batches(kept_heat.function, [*arrays, chosen], batch_size)
    check_finite(heat, "; weights or pixels may not be finite")
    return heat


def check_finite(heat: np.ndarray, hint: str = "") -> None:
    """Raise a `ValueError` for heat with NaN or infinity."""
    wrong = np.flatnonzero(~np.isfinite(heat).all((1, 2)))
    if len(wrong):
        raise ValueError(
            f"Expected heat of finite numbers. Received: NaN or infinity for image {wrong[0]}{hint}"
        )


def _probed(
    model: keras.Model,
    layer: keras.layers.Layer,
    weigh: Callable[[Any, Any], Any],
    shapes: tuple[tuple[int, ...], ...],
    size: tuple[int, ...],
) -> tuple[Probe, Callable[..., Any]]:
    """Return a probe of the layer, and a function from inputs and classes to heat of a size."""
    probe = Probe(model, layer)
    symbols = [
        keras.KerasTensor((1, *shape), dtype=each.dtype)
        for shape, each in zip(shapes, probe.model.inputs, strict=True)
    ]
    probe.model.compute_output_spec(packed(probe.model, symbols))
    _, *places = probe.tap.seen.shape
    first = is_channels_first(model)
    known = class_count(model)

    def explain(*arrays: Any) -> Any:
        *inputs, classes = arrays

        def score(added: Any) -> tuple[Any, Any]:
            probe.tap.added = added
            scores = both_scores(ops.cast(probe(packed(probe.model, inputs)), "float32"), known)
            predicted = ops.cast(ops.argmax(scores, axis=-1), classes.dtype)
            of_class = ops.one_hot(ops.where(classes < 0, predicted, classes), known)
            return ops.sum(scores * of_class), probe.tap.seen

        slopes, features = gradient(score, ops.zeros((classes.shape[0], *places), "float32"))
        features = ops.cast(features, "float32")
        if first:
            features, slopes = (ops.transpose(x, (0, 2, 3, 1)) for x in (features, slopes))
        heat = ops.relu(ops.sum(weigh(features, slopes) * features, axis=-1, keepdims=True))
        heat = ops.image.resize(heat, size, "bilinear", data_format="channels_last")[..., 0]
        largest = ops.max(heat, axis=(1, 2), keepdims=True)
        return heat / ops.where(largest > 0, largest, 1.0)

    return probe, explain


def feature_layer(model: keras.Model, layer: str | keras.layers.Layer | None) -> keras.layers.Layer:
    """Return the layer whose output is explained; for `None` the last one with a feature map.

    Raises:
        ValueError: if no layer has a feature map, or if `layer` is not one of them.
    """
    first = is_channels_first(model)
    layers = {address: each for address, each in walk(model, has_graph) if _has_places(each, first)}
    if layer is None:
        if not layers:
            raise ValueError(
                "Expected a model with feature maps of height and width, of rank 4. Received: "
                f"model {model.name}, which has none"
            )
        return list(layers.values())[-1]
    found = [each for address, each in layers.items() if layer is each or layer == address]
    if not found:
        raise ValueError(
            "Argument `layer` must be a layer of the model with a feature map, or its name. "
            f"Received: layer={layer}"
        )
    return found[0]


def _has_places(layer: keras.layers.Layer, first: bool) -> bool:
    output = layer.output
    if isinstance(layer, keras.layers.InputLayer) or not isinstance(output, keras.KerasTensor):
        return False
    shape = tuple(output.shape)
    return len(shape) == 4 and (shape[2:] if first else shape[1:3]) != (1, 1)


def _classes(class_index: Any, count: int, known: int) -> np.ndarray:
    if class_index is None:
        return np.full(count, PREDICTED, "int32")
    given = np.asarray(class_index)
    whole = given.dtype.kind in "iu" and given.shape in ((), (count,))
    if not whole or not np.isin(given, np.arange(known)).all():
        raise ValueError(
            f"Argument `class_index` must be one of {known} classes, counted from 0, or one class "
            f"for each of {count} images. Received: class_index={class_index}"
        )
    return np.broadcast_to(given, (count,)).astype("int32")
