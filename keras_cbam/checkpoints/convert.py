"""Conversion of a PyTorch checkpoint to a .keras file, written only if the logits agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from keras_cbam.checkpoints.networks import PREPROCESSING, build_reference
from keras_cbam.checkpoints.torch_file import read_state_dict
from keras_cbam.checkpoints.torch_network import torch_logits
from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path, check_writable
from keras_cbam.pixels import IMAGENET_MEAN, IMAGENET_STD

IMAGES = 4
# Side of the images if the model leaves it open.
OPEN_SIZE = 224
# The largest allowed error of a logit, relative to the range of the logits.
TOLERANCE = 1e-4
# How much a logit must vary between images, relative to the same range. With less variation,
# agreement means nothing.
VARIATION = 100 * TOLERANCE


class LogitParity(NamedTuple):
    """How well a converted network agrees with PyTorch.

    Attributes:
        images: number of images that both networks were run on.
        error: largest difference of a logit, relative to the range of PyTorch's logits.
        variation: largest variation of a logit between the images, relative to the same range.
    """

    images: int
    error: float
    variation: float

    @property
    def agrees(self) -> bool:
        """Whether the error is within the tolerance. NaN is not."""
        return self.error <= TOLERANCE

    @property
    def meaningful(self) -> bool:
        """Whether the outputs vary enough for agreement to prove anything."""
        return self.variation >= VARIATION


class ConversionError(RuntimeError):
    """The logits of the converted network differ from PyTorch's."""


def convert(
    checkpoint: str | Path,
    output: str | Path,
    *,
    image_size: int | tuple[int | None, int | None] | None = None,
    include_preprocessing: bool = False,
) -> LogitParity:
    """Write the Keras model of a PyTorch checkpoint, if its logits agree with PyTorch's.

    Two networks are run on random images: the converted network, and the authors' network in
    PyTorch in float64 with the weights of the checkpoint. The checkpoint does not contain its
    original network. If that network differs from the authors' in one of the points that
    `load_reference` lists, neither of the two shows it. The written model ends in a softmax.

    Args:
        checkpoint: as for `load_reference`.
        output: the `.keras` file to write. It is written completely or not at all.
        image_size: as for `load_reference`.
        include_preprocessing: as for `load_reference`.

    Returns:
        How well the logits agree, as a `LogitParity`.

    Raises:
        ConversionError: if the logits do not agree.
        InputError: in the same cases as `load_reference`, or if `output` is not the path of a
            `.keras` file that can be written.
        MissingPackageError: if PyTorch is not installed.
    """
    output = Path(output)
    if output.suffix != ".keras" or output.is_dir():
        raise InputError(f"Expected a .keras file to write. Received: {output}")
    check_writable(output.parent)
    state_dict = read_state_dict(checkpoint)
    model = build_reference(state_dict, image_size, None, include_preprocessing)
    parity = compare_with_torch(model, state_dict)
    if not parity.agrees:
        raise ConversionError(
            f"The converted network differs from PyTorch's by {parity.error:.1e} of the range of "
            f"the logits, more than {TOLERANCE:.0e}; nothing was written"
        )
    model.get_layer("predictions").activation = keras.activations.softmax
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(output) as path:
        model.save(path)
    return parity


def compare_with_torch(model: keras.Model, state_dict: Mapping[str, np.ndarray]) -> LogitParity:
    """Compare a network's logits with those of the authors' network in PyTorch on random images.

    Args:
        model: a network from `build_reference` that ends in logits.
        state_dict: the weights of the network, as `read_state_dict` returns them.
    """
    include_preprocessing = any(layer.name == PREPROCESSING for layer in model.layers)
    shape = (IMAGES, *(size or OPEN_SIZE for size in model.inputs[0].shape[1:]))
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 255, shape) if include_preprocessing else draw.normal(size=shape)
    images = images.astype("float32")
    found = keras.ops.convert_to_numpy(model(images, training=False)).astype("float64")
    if keras.config.image_data_format() == "channels_last":
        images = images.transpose(0, 3, 1, 2)
    if include_preprocessing:
        mean, std = (np.array(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        images = (images / 255 - mean) / std
    expected = torch_logits(state_dict, images)
    span = float(np.ptp(expected)) or 1.0
    error = float(np.abs(found - expected).max()) / span
    variation = float(np.ptp(expected, axis=0).max()) / span
    return LogitParity(IMAGES, error, variation)
