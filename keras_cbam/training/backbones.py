"""The backbones of `keras.applications`, with their preprocessing and weights from files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, refused
from keras_cbam.pixels import IMAGENET_MEAN, IMAGENET_STD, named_rule
from keras_cbam.text import first_line

# Arguments of the builders that are set by this package, not by the user.
SET_HERE = {"classes", "include_top", "input_shape", "input_tensor", "pooling", "weights"}

BACKBONES: tuple[str, ...] = tuple(
    name
    for name in dir(keras.applications)
    if name[0].isupper() and callable(getattr(keras.applications, name))
)

# Keras publishes weights of these backbones for several image sizes, from 96x96 or 128x128 to
# 224x224.
SIZED = {"MobileNet", "MobileNetV2"}


def preprocess(inputs: Any, backbone: str) -> Any:
    """Apply the backbone's pixel rule to RGB inputs in 0..255, `(batch, height, width, 3)`."""
    rule = named_rule(backbone)
    if rule is None:
        return inputs
    return keras.layers.Rescaling(rule.scale, rule.offset, name="preprocessing")(inputs)


def check_backbone(name: str, weights: str, options: dict[str, Any] | None = None) -> None:
    """Raise an `InputError` for arguments that `build_backbone` is sure to refuse."""
    if name not in BACKBONES:
        raise InputError(
            f"Expected a backbone of keras.applications: {', '.join(BACKBONES)}. Received: {name}"
        )
    taken = set(options or {}) & SET_HERE
    if taken:
        raise InputError(f"The backbone option {min(taken)} is not for the user to set.")
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise InputError(f"Expected 'imagenet', 'none' or a weights file. No file at: {weights}")


def build_backbone(
    name: str, weights: str, inputs: Any, options: dict[str, Any] | None = None
) -> keras.Model:
    """Build a `keras.applications` network without its top on preprocessed `inputs`.

    Args:
        name: the builder's name, such as `"MobileNetV2"`.
        weights: `"imagenet"`, `"none"`, or the path of an `.h5` or `.weights.h5` weights file of
            the network as `keras.applications` builds it.
        inputs: a Keras tensor, `(batch, height, width, 3)`, the output of `preprocess`.
        options: further arguments of the builder, such as `{"alpha": 0.25}`.

    Returns:
        The network. If its published weights expect BGR, it is changed to take RGB.

    Raises:
        InputError: if the name or an option is unknown, or the weights are missing or do not fit.
    """
    check_backbone(name, weights, options)
    builder = getattr(keras.applications, name)
    named = weights if weights == "imagenet" else None
    settings = dict(options or {})
    if named and name in SIZED and inputs.shape[1] == inputs.shape[2]:
        # With `input_tensor` alone, these builders ignore its size and load weights for 224x224.
        settings["input_shape"] = tuple(inputs.shape[1:])
    what = (
        f"Backbone {name} with weights {weights} and options {options or {}} could not be built, "
        "because of the options, the image size or the download: "
    )
    with refused(what, told=first_line):
        backbone = builder(include_top=False, weights=named, input_tensor=inputs, **settings)
    if weights not in ("imagenet", "none"):
        loader = keras.Model.load_weights if weights.endswith(".weights.h5") else _load_by_name
        what = f"Weights file {weights} does not fit {backbone.name} or is damaged: "
        with refused(what, passing=(InputError,), told=first_line):
            loader(backbone, weights)
        _scale_as_published(backbone, name)
    rule = named_rule(name)
    # Reverse the input channels, so that a BGR network takes RGB.
    if rule and rule.reverse_channels and weights != "none":
        _change_first_kernel(backbone, lambda kernel: kernel[:, :, ::-1])
    return backbone


def _change_first_kernel(backbone: keras.Model, change: Callable[[np.ndarray], np.ndarray]) -> None:
    first = next(x for x in backbone.layers if isinstance(x, keras.layers.Conv2D))
    kernel, *bias = first.get_weights()
    first.set_weights([change(kernel), *bias])


def _scale_as_published(backbone: keras.Model, name: str) -> None:
    """Scale the pixels of EfficientNet as its published weights expect.

    With `weights="imagenet"`, Keras builds another Rescaling between Normalization and the first
    convolution. No weights file holds it, so this function multiplies it into the convolution. It
    recognizes published weights by the ImageNet mean in their Normalization.
    """
    normalization = next(
        (x for x in backbone.layers if isinstance(x, keras.layers.Normalization)), None
    )
    if not name.startswith("EfficientNetB") or normalization is None:
        return
    mean = np.ravel(keras.ops.convert_to_numpy(normalization.mean))
    if np.allclose(mean, IMAGENET_MEAN, atol=1e-3):
        scale = 1 / np.sqrt(np.asarray(IMAGENET_STD))
        _change_first_kernel(backbone, lambda kernel: kernel * scale[:, None])


def _load_by_name(backbone: keras.Model, path: str) -> None:
    """Load the weights of a file, with or without top, into the layers of a backbone without top.

    Raises:
        InputError: if the file lacks a layer of the backbone.
    """
    import h5py

    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        stored = {str(name) for name in group}
    for layer in backbone.layers:
        # Keras numbers automatic names within a process: normalization, normalization_1 and so on.
        unnumbered = re.sub(r"_\d+$", "", layer.name)
        if layer.name not in stored and unnumbered in stored - {x.name for x in backbone.layers}:
            layer.name = unnumbered
    wanted = {layer.name for layer in backbone.layers if layer.weights}
    missing = sorted(wanted - stored)
    if missing:
        raise InputError(
            f"Weights file {path} has no weights for {len(missing)} of the {len(wanted)} layers of "
            f"{backbone.name}, the first of them {missing[0]}; it is another network's file."
        )
    backbone.load_weights(path, by_name=True)
