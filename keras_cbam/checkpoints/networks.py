"""Loading a checkpoint of the authors' PyTorch code as a Keras model with its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.checkpoints.architecture import read_architecture
from keras_cbam.checkpoints.assign import assign_weights
from keras_cbam.checkpoints.torch_file import read_state_dict
from keras_cbam.errors import InputError, refused
from keras_cbam.models.arguments import height_and_width, image_input, with_channels
from keras_cbam.models.builder import SIZES, classifier, features
from keras_cbam.pixels import TORCH

PREPROCESSING = "preprocessing"
# Names of the Keras layers, and the prefixes of their weights' names in PyTorch.
ADDRESSES = (
    (r"stem_(conv|bn)", r"\g<1>1."),
    (r"stage(\d+)_block(\d+)_(conv|bn)(\d)", r"layer\1.\2.\3\4."),
    (r"stage(\d+)_block(\d+)_shortcut_conv", r"layer\1.\2.downsample.0."),
    (r"stage(\d+)_block(\d+)_shortcut_bn", r"layer\1.\2.downsample.1."),
    (r"stage(\d+)_block(\d+)_cbam", r"layer\1.\2.cbam."),
    (r"stage(\d+)_bam", r"bam\1."),
    (r"predictions", r"fc."),
)


def load_reference(
    path: str | Path,
    *,
    image_size: int | tuple[int | None, int | None] | None = None,
    classifier_activation: Any = "softmax",
    include_preprocessing: bool = False,
    name: str | None = None,
) -> keras.Model:
    """Return the Keras model of a PyTorch checkpoint, with its weights.

    The network is recognized by the names and shapes of its weights. It may be a ResNet of any
    depth of [the authors' code](https://github.com/Jongchan/attention-module), plain or with CBAM
    or BAM, for ImageNet or for small images. It may also be a plain ResNet, wide ResNet or ResNeXt
    of torchvision, which uses the same names. Names and shapes do not tell everything. These points
    are assumed to be as in the authors' code:

    - strides, dilation, paddings and the epsilon of normalization;
    - CBAM stands in every block and pools by mean and maximum, and its spatial convolution reads
      the maximum first;
    - a bottleneck widens 4 times.

    Args:
        path: a file that `torch.save` wrote. It holds a state dict, alone or under `"state_dict"`
            or `"model"`. The names may start with `module.`. The file is read by
            `torch.load(weights_only=True)`, which runs no code.
        image_size: side of square images, or height and width. `(None, None)` leaves them open.
            Defaults to 224, or to 32 if the stem is the one for small images.
        classifier_activation: activation of the classifier; `None` gives logits, as PyTorch's
            networks do. Defaults to `"softmax"`.
        include_preprocessing: whether the model takes RGB pixels in 0..255 and scales them itself,
            as published networks expect. Defaults to `False`: the model expects images scaled by
            `keras.applications.imagenet_utils.preprocess_input(x, mode="torch")`.
        name: name of the model. Defaults to the name of the network, such as `"resnet50_cbam"`.

    Returns:
        A functional `keras.Model`, not compiled, with the layer names of `keras_cbam.models`.

    Raises:
        InputError: a ValueError, if the file cannot be read without running code, or has the
            weights of another network. The message lists all names and shapes that do not fit.
        ValueError: if `image_size` is not a size of images, or is too small.
        MissingPackageError: an ImportError, if PyTorch is not installed.

    Example:
        >>> import os, tempfile, torch
        >>> plain = {"conv1.weight": torch.zeros(64, 3, 7, 7)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "checkpoint.pth")
        ...     torch.save({"state_dict": plain}, path)
        ...     try:
        ...         load_reference(path)
        ...     except ValueError as error:
        ...         print(str(error).split(",")[0])
        Expected the weights of a ResNet
    """
    arrays = read_state_dict(path)
    return build_reference(arrays, image_size, classifier_activation, include_preprocessing, name)


def build_reference(
    arrays: Mapping[str, np.ndarray],
    image_size: int | tuple[int | None, int | None] | None,
    classifier_activation: Any,
    include_preprocessing: bool,
    name: str | None = None,
) -> keras.Model:
    """Return the model of `load_reference` for weights that `read_state_dict` has read.

    Raises:
        InputError: in the same cases as `load_reference`.
    """
    architecture = read_architecture(arrays)
    network, stem = architecture.network, architecture.stem
    size = height_and_width(SIZES[stem] if image_size is None else image_size, network.stride(stem))
    shape = with_channels(size, architecture.channels)
    pixels = scaled = image_input(shape, None, network.stride(stem))
    if include_preprocessing:
        if architecture.channels != len(TORCH.scale):
            raise InputError(
                "Argument `include_preprocessing` needs a network for RGB images. Received: a "
                f"network for images of {architecture.channels} channels"
            )
        scaled = keras.layers.Rescaling(TORCH.scale, TORCH.offset, name=PREPROCESSING)(pixels)
    with refused("", only=(ValueError,), told=str):
        x = features(scaled, network, stem, architecture.attention)
        x = classifier(x, architecture.classes, classifier_activation)
        model = keras.Model(pixels, x, name=name or architecture.name)
        addressed = {_address(layer.name): layer for layer in model.layers if layer.weights}
        assign_weights(addressed, arrays, f"a {architecture.name}")
    return model


def _address(name: str) -> str:
    """Return the prefix of the names in PyTorch of the weights of a Keras layer."""
    # Keras names count blocks from 1, PyTorch names from 0.
    name = re.sub(r"(?<=_block)\d+", lambda found: str(int(found[0]) - 1), name)
    found = ((re.fullmatch(pattern, name), address) for pattern, address in ADDRESSES)
    return next(match.expand(address) for match, address in found if match)
