"""Reads data of any supported form as one array for each input of the model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, require
from keras_cbam.image_files import FORMATS, find_files
from keras_cbam.image_reader import DETAIL, central, read_image
from keras_cbam.text import printable

# Default number of calibration images from a folder or from batches.
CALIBRATION_IMAGES = 200


def split_labels(data: Any) -> tuple[Any, np.ndarray | None]:
    """Return the inputs, and their labels if `data` is a tuple `(inputs, labels)`."""
    if isinstance(data, tuple) and len(data) == 2:
        inputs, labels = data
        return inputs, None if labels is None else np.asarray(labels)
    return data, None


def raw_arrays(
    data: Any,
    name: str,
    names: Sequence[str] | None,
    size: tuple[int | None, ...] | None,
    limit: int | None = None,
) -> list[np.ndarray] | None:
    """Read data as one array for each input, in the order of the inputs.

    Args:
        data: an array; a list of arrays; a dictionary of arrays by input name; an iterable of
            batches that are arrays, lists or dictionaries, such as a `tf.data.Dataset`; a function
            that returns such an iterable, as for TFLite's converter; or the path of a folder of
            images.
        name: name of the argument, for errors.
        names: names of the inputs. `None` if they are not known; dictionaries then set the order.
        size: height and width to which the images of a folder are resized.
        limit: largest number of inputs to take from a folder or from batches; `None` for all.
    """
    if data is None or hasattr(data, "__array__"):
        return None if data is None else [np.asarray(data)]
    if isinstance(data, str | Path):
        return [_folder(Path(data), name, size, limit)]
    if callable(data):
        data = data()
    if isinstance(data, dict):
        return _batch(data, name, names)
    if isinstance(data, Sequence) and all(hasattr(array, "shape") for array in data):
        return [np.asarray(array) for array in data]
    if not isinstance(data, Iterable):
        raise InputError(f"Expected {name} with an array for each input. Received: {type(data)}")
    batches, count = [], 0
    for batch in data:
        batches.append(_batch(batch, name, names))
        count += len(batches[-1][0])
        if limit is not None and count >= limit:
            break
    if not batches or len({len(batch) for batch in batches}) != 1:
        raise InputError(f"Expected {name} in batches of one structure. Received: {len(batches)}")
    try:
        return [np.concatenate(arrays)[:limit] for arrays in zip(*batches, strict=True)]
    except ValueError as error:
        raise InputError(f"Expected {name} in batches of one shape. Received: {error}") from error


def check_arrays(arrays: list[np.ndarray], tensors: Sequence[Any], name: str) -> list[np.ndarray]:
    """Convert the arrays to the types of the model's inputs.

    Raises:
        InputError: unless there is one array for each input, with its shape, and all have the same
            length.
    """
    if len(arrays) != len(tensors) or len({len(array) for array in arrays}) != 1:
        raise InputError(
            f"Expected {name} with {len(tensors)} arrays of one length. Received: "
            f"{[array.shape for array in arrays]}"
        )
    if not len(arrays[0]):
        raise InputError(f"Expected {name} with at least one input. Received: none")
    converted = []
    for array, tensor in zip(arrays, tensors, strict=True):
        shape = tuple(tensor.shape)
        if not has_shape(array, (None, *shape[1:])):
            raise InputError(f"Expected {name} of shape {shape}. Received: {array.shape}")
        converted.append(np.ascontiguousarray(array, tensor.dtype))
    return converted


def has_shape(array: np.ndarray, sizes: Sequence[int | None]) -> bool:
    """Tell whether an array has these sizes. `None` stands for any size."""
    return array.ndim == len(sizes) and all(
        size in (None, found) for size, found in zip(sizes, array.shape, strict=True)
    )


def _batch(batch: Any, name: str, names: Sequence[str] | None) -> list[np.ndarray]:
    """Return a batch as one array for each input."""
    if isinstance(batch, dict):
        if names is not None and set(batch) != set(names):
            raise InputError(f"Expected {name} by names {list(names)}. Received: {list(batch)}")
        batch = [batch[key] for key in names or batch]
    arrays = [np.asarray(x) for x in (batch if isinstance(batch, list | tuple) else [batch])]
    if not arrays or any(not array.ndim for array in arrays):
        raise InputError(f"Expected {name} in batches of arrays. Received: {type(batch)}")
    return arrays


def _folder(
    folder: Path, name: str, size: tuple[int | None, ...] | None, limit: int | None
) -> np.ndarray:
    """Read the images of a folder in random order. Warn about those that cannot be decoded."""
    if not folder.is_dir():
        raise InputError(f"Expected {name} to be a folder of images. No folder at: {folder}")
    if size is None or len(size) != 2 or size[0] is None or size[1] is None:
        raise InputError(
            f"Expected {name} as arrays for a model without a fixed image size. Received: {folder}"
        )
    require("PIL")
    height, width = size[0], size[1]
    images, unread = find_files(folder)
    pixels: list[np.ndarray] = []
    left_out = list(unread)
    for index in np.random.default_rng(0).permutation(len(images)):
        if len(pixels) == limit:
            break
        try:
            image = read_image(images[index], (height, width), central(width / height), DETAIL)
        except InputError:
            left_out.append(images[index])
        else:
            pixels.append(np.asarray(image, "float32"))
    first = printable(str(left_out[0]), keep="") if left_out else ""
    told = f"Left out: {len(left_out)}, such as {first}" if left_out else ""
    if not pixels:
        raise InputError(
            f"Expected {name} to be a folder of images that can be decoded, of "
            f"{', '.join(FORMATS)}. Received: {folder} {told}".rstrip()
        )
    if told:
        warnings.warn(f"{name}: images that cannot be decoded. {told}", stacklevel=2)
    return np.stack(pixels)
