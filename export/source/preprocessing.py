"""Preprocessing of pixels, inside the artifact or by the client. It is recorded in both cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.pixels import PixelRule, named_rule

from .prepare import Prepared

# The input of an artifact that contains the preprocessing.
PIXELS = "RGB in 0..255"
# Inputs are assumed to be pixels only if their values go above this.
FULL = 128


def with_preprocessing(
    prepared: Prepared, preprocessing: str | None, inside: bool
) -> tuple[Prepared, dict[str, Any]]:
    """Put the pixel rule in front of the network, or leave it to the client, and describe it.

    Args:
        prepared: the model.
        preprocessing: name of a `keras.applications` builder, or a key of `pixels.PIXEL_RULES`;
            `None` if the model takes its inputs without preprocessing.
        inside: whether the artifact contains the preprocessing, and takes RGB pixels in 0..255.

    Returns:
        The model to export, and the record for the manifest.

    Raises:
        InputError: on an unknown name, or if the model does not take one RGB image.
    """
    if preprocessing is None:
        return prepared, {"rule": None, "in_graph": _own(prepared.model)}
    rule = named_rule(preprocessing)
    if not _is_rgb(prepared.model.inputs):
        raise InputError(
            "Expected a model of one RGB image, (batch, height, width, 3), with preprocessing. "
            f"Received: {[tuple(tensor.shape) for tensor in prepared.model.inputs]}"
        )
    record: dict[str, Any] = {"rule": preprocessing, "takes": PIXELS}
    if rule is None:
        return prepared, {**record, "in_graph": _own(prepared.model)}
    order = ", then blue first" if rule.reverse_channels else ""
    record |= {"formula": f"pixels * scale + offset{order}", **rule._asdict()}
    if not inside:
        return prepared, {**record, "takes": "preprocessed values", "in_graph": []}
    image = keras.Input(prepared.model.inputs[0].shape[1:], name=prepared.inputs[0])
    outputs = prepared.model(prepared.pack([_layer(rule)(image)]))
    model = keras.Model(image, outputs, name=prepared.model.name)
    return replace(prepared, model=model), {**record, "in_graph": ["preprocessing"]}


def as_seen(
    record: dict[str, Any], tensors: Sequence[Any], inputs: list[np.ndarray] | None
) -> dict[str, Any]:
    """Add to the record that the inputs are pixels, if the caller did not say and they look so.

    One image with three channels is assumed to be RGB pixels if its values lie in 0..255 and go
    above 128.
    """
    if "takes" in record or inputs is None or not _is_rgb(tensors):
        return record
    (images,) = inputs
    if images.min() < 0 or not FULL < images.max() <= 255:
        return record
    return {**record, "takes": PIXELS, "assumed": True}


def with_extremes(representative: list[np.ndarray], record: dict[str, Any]) -> list[np.ndarray]:
    """Add a black and a white pixel to the calibration set, if it consists of pixels.

    An integer input then has the scale 1, so clients can pass pixels unchanged.
    """
    if record.get("takes") != PIXELS:
        return representative
    images, *rest = representative
    images = images.copy()
    images[0, 0, 0], images[0, -1, -1] = 0, 255
    return [images, *rest]


def _is_rgb(tensors: Sequence[Any]) -> bool:
    """Tell whether these inputs are one image with three channels."""
    return len(tensors) == 1 and len(tensors[0].shape) == 4 and tensors[0].shape[-1] == 3


def _layer(rule: PixelRule) -> keras.Layer:
    """Return the rule as a layer. A 1x1 convolution reverses channels in every runtime."""
    if not rule.reverse_channels:
        return keras.layers.Rescaling(rule.scale, rule.offset, name="preprocessing")
    kernel = np.diag(rule.scale)[:, ::-1][None, None]
    layer = keras.layers.Conv2D(3, 1, trainable=False, name="preprocessing")
    layer.build((None, None, None, 3))
    layer.set_weights([kernel, np.asarray(rule.offset[::-1])])
    return layer


def _own(model: keras.Model) -> list[str]:
    """Return the names of the model's own layers that scale its inputs."""
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return [layer.name for layer in model.layers if isinstance(layer, kinds)]
