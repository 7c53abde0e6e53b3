"""The file of an adapter: a JSON description and arrays, in an `.npz` archive without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError, refused
from keras_cbam.files import atomic_path
from keras_cbam.layers import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.npz import read_arrays

FORMAT = "keras_cbam adapter 1"
# The entry that holds the description.
DESCRIPTION = "adapter"
# The largest file that is read, in bytes. An adapter has thousands of weights; the head for
# thousands of classes has some millions.
MOST_BYTES = 2**30
# No number in a configuration may exceed both this and the longest axis of its layer's weights.
LEAST_LIMIT = 128

# The layer classes that a file can hold, by name.
ATTENTIONS = {
    kind.__name__: kind for kind in (BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite)
}
HEADS = {
    name: getattr(keras.layers, name)
    for name in (
        *("Activation", "BatchNormalization", "Dense", "Dropout", "Flatten"),
        *("GlobalAveragePooling2D", "GlobalMaxPooling2D", "LayerNormalization", "ReLU", "Softmax"),
    )
}
LAYERS = {**ATTENTIONS, **HEADS}
# Settings that are not saved: a layer that has weights does not need them, and a seed may be a
# number of any size.
LEFT_OUT = ("_constraint", "_initializer", "_regularizer", "seed")

Configuration = dict[str, Any]


@dataclass(frozen=True)
class Adapter:
    """The content of an adapter file.

    Attributes:
        model: name of the classifier.
        backbone: digest of the computation of the backbone.
        labels: names of the classes, or none.
        after: for each attention layer, the digest of the layer that it follows.
        attention: configurations of the attention layers, `{"class_name": ..., "config": ...}`.
        head: configurations of the layers of the head, in the order of the computation.
        weights: the weights of each layer, attention first.
    """

    model: str
    backbone: str
    labels: list[str]
    after: list[str]
    attention: list[Configuration]
    head: list[Configuration]
    weights: list[list[np.ndarray]]


def write_adapter(adapter: Adapter, path: Path) -> None:
    """Write an adapter file atomically.

    Raises:
        ValueError: if `read_adapter` would refuse it.
    """
    description = {"format": FORMAT, **asdict(adapter)}
    del description["weights"]
    arrays = {
        f"{index}/{number}": weight
        for index, weights in enumerate(adapter.weights)
        for number, weight in enumerate(weights)
    }
    _checked(description, arrays)
    arrays[DESCRIPTION] = np.array(json.dumps(description))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_adapter(path: Path) -> Adapter:
    """Read an adapter file.

    Raises:
        InputError: if there is no file, or it is not an adapter.
    """
    what = f"Expected an adapter of keras_cbam at {path}: "
    try:
        with refused(what, passing=(FileNotFoundError,)):
            arrays = read_arrays(path, MOST_BYTES)
            if DESCRIPTION not in arrays:
                raise ValueError(f"it has no entry {DESCRIPTION!r}")
            return _checked(json.loads(str(arrays.pop(DESCRIPTION))), arrays)
    except FileNotFoundError:
        raise InputError(f"Expected an adapter. No file at: {path}") from None


def describe(layer: keras.layers.Layer) -> Configuration:
    """Return the configuration of a layer as a file holds it.

    Raises:
        ValueError: if a file cannot hold its class or a part of its configuration.
    """
    name = type(layer).__name__
    if LAYERS.get(name) is not type(layer):
        raise ValueError(
            f"Expected attention of keras_cbam, and a head of {', '.join(HEADS)}. "
            f"Received: layer {layer.name} of class {name}"
        )
    config = {k: v for k, v in layer.get_config().items() if not k.endswith(LEFT_OUT)}
    config["dtype"] = layer.dtype_policy.name
    what = f"Layer {layer.name} cannot be in an adapter: "
    with refused(what, only=(ValueError,), told=str):
        _check_config(config, None)
    return {"class_name": name, "config": config}


def rebuild(configuration: Configuration) -> keras.layers.Layer:
    """Return a new layer, not built, from a configuration that has been checked."""
    return LAYERS[configuration["class_name"]].from_config(configuration["config"])


def plain_weights(layer: keras.layers.Layer) -> list[np.ndarray]:
    """Return the weights of a layer in types of NumPy; bfloat16 becomes float32, without loss."""
    weights = layer.get_weights()
    return [w if w.dtype.kind in "fiu" else w.astype("float32") for w in weights]


def _checked(description: Any, arrays: Mapping[str, np.ndarray]) -> Adapter:
    """Return the content of a file, checked to be what `write_adapter` writes."""
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT!r}")
    lists = {"labels": str, "after": str, "attention": dict, "head": dict}
    for name, kind in {"model": str, "backbone": str, **lists}.items():
        value = description.get(name)
        items = value if name in lists else [value]
        if not isinstance(items, list) or not all(isinstance(item, kind) for item in items):
            raise ValueError(f"its entry {name!r} is missing or of another kind")
    attention, head = description["attention"], description["head"]
    if not head or len(attention) != len(description["after"]):
        raise ValueError("it has no head, or attention without a place")
    weights: list[list[np.ndarray]] = []
    left = dict(arrays)
    for index, layer in enumerate([*attention, *head]):
        kinds = ATTENTIONS if index < len(attention) else HEADS
        if layer.get("class_name") not in kinds or not isinstance(layer.get("config"), dict):
            raise ValueError(f"a layer {layer.get('class_name')} is none of {', '.join(kinds)}")
        mine: list[np.ndarray] = []
        while f"{index}/{len(mine)}" in left:
            mine.append(left.pop(f"{index}/{len(mine)}"))
        if any(array.dtype.kind not in "fiu" or not array.size for array in mine):
            raise ValueError(f"the weights of layer {index} are no numbers")
        axes = (axis for array in mine for axis in array.shape)
        _check_config(layer["config"], max(axes, default=0))
        weights.append(mine)
    if left:
        raise ValueError(f"its entry {min(left)!r} belongs to no layer")
    return Adapter(**{k: v for k, v in description.items() if k != "format"}, weights=weights)


def _check_config(config: Any, longest: int | None) -> None:
    """Raise a `ValueError` for values that a configuration in a file cannot hold.

    Args:
        config: the configuration of a layer, or a part of it.
        longest: length of the longest axis of the layer's weights, which limits the numbers
            together with `LEAST_LIMIT`; `None` for no limit.
    """
    if isinstance(config, dict):
        for key, value in config.items():
            if key.endswith(LEFT_OUT) or isinstance(value, dict):
                raise ValueError(f"its {key} is no part of an adapter")
            _check_config(value, longest)
    elif isinstance(config, list | tuple):
        for value in config:
            _check_config(value, longest)
    elif isinstance(config, str):
        # Keras would turn the name of a registered class or function into the object itself.
        if keras.saving.get_registered_object(config) is not None:
            raise ValueError(f"{config} is none of Keras's own")
    elif isinstance(config, int | float):
        if longest is not None and abs(config) > max(longest, LEAST_LIMIT):
            raise ValueError(f"a number of its configuration is {config}")
    elif config is not None:
        raise ValueError(f"{config!r} is no part of a configuration")
