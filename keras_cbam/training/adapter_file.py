"""The file of an adapter: a description in JSON and arrays, in an `.npz` archive without pickle."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.files import atomic_path
from keras_cbam.layers import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite

FORMAT = "keras_cbam adapter 1"
# The entry that holds the description.
DESCRIPTION = "adapter"
# An adapter has thousands of weights, and a head of thousands of classes some millions.
MOST_BYTES = 2**30
# No axis of a weight is set by a larger number than the largest axis in the file, or this.
LEAST_LIMIT = 4096

_ATTENTIONS = (BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite)
_HEADS = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.LayerNormalization,
    keras.layers.ReLU,
    keras.layers.Softmax,
)
# The classes of the layers that a file can hold.
ATTENTIONS = {kind.__name__: kind for kind in _ATTENTIONS}
HEADS = {kind.__name__: kind for kind in _HEADS}
# Where a configuration names the classes of its parts from, and where those are.
MODULES: dict[str, Any] = {
    "keras": keras.dtype_policies,
    "keras.constraints": keras.constraints,
    "keras.initializers": keras.initializers,
    "keras.regularizers": keras.regularizers,
}


@dataclass(frozen=True)
class Adapter:
    """What the file of an adapter holds.

    Attributes:
        model: name of the classifier.
        backbone: digest of the backbone.
        labels: names of the classes, or none.
        attention: configurations of the attention layers, by the address of the layer that each
            follows; a configuration is `{"class_name": ..., "config": ...}`.
        head: configurations of the layers of the head, in the order of the computation.
        weights: those of each layer, attention first.
    """

    model: str
    backbone: str
    labels: list[str]
    attention: dict[str, dict[str, Any]]
    head: list[dict[str, Any]]
    weights: list[list[np.ndarray]]


def write_adapter(adapter: Adapter, path: Path) -> None:
    """Write a file, complete or not at all."""
    description = {"format": FORMAT, **asdict(adapter), "weights": None}
    arrays = {
        f"{index}/{number}": weight
        for index, weights in enumerate(adapter.weights)
        for number, weight in enumerate(weights)
    }
    arrays[DESCRIPTION] = np.array(json.dumps(description))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_adapter(path: Path) -> Adapter:
    """Read a file.

    Raises:
        InputError: if there is none, or it holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"unpacked it has {size:,} bytes, more than {MOST_BYTES:,}")
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        description = json.loads(str(arrays.pop(DESCRIPTION)))
        return _checked(description, arrays)
    except FileNotFoundError:
        raise InputError(f"Expected an adapter. No file at: {path}") from None
    except Exception as error:
        # Whatever a damaged or foreign file makes the readers raise.
        sentence = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"Expected an adapter of keras_cbam at {path}: {sentence}") from error


def _checked(description: Any, arrays: Mapping[str, np.ndarray]) -> Adapter:
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError(f"it is not of the format {FORMAT!r}")
    model, backbone, labels, attention, head = (
        description[name] for name in ("model", "backbone", "labels", "attention", "head")
    )
    names = [model, backbone, *labels, *attention]
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its names are no strings")
    limit = max([LEAST_LIMIT, *(axis for array in arrays.values() for axis in array.shape)])
    layers = [(each, ATTENTIONS) for each in attention.values()]
    layers += [(each, HEADS) for each in head]
    weights: list[list[np.ndarray]] = []
    for index, (layer, kinds) in enumerate(layers):
        if layer["class_name"] not in kinds:
            raise ValueError(f"a layer {layer['class_name']} is none of {', '.join(kinds)}")
        check_config(layer["config"], limit)
        mine = [name for name in arrays if name.startswith(f"{index}/")]
        weights.append([arrays[f"{index}/{number}"] for number in range(len(mine))])
    return Adapter(model, backbone, labels, attention, head, weights)


def check_config(config: Any, limit: int | None = None) -> None:
    """Raise a `ValueError` for what a configuration in a file cannot hold.

    Args:
        config: of a layer, or a part of it.
        limit: the largest integer that a number of units, or a side of a kernel, may be.
    """
    if isinstance(config, dict):
        if "class_name" in config and not _is_kerass(**config):
            raise ValueError(f"{config['class_name']} is no class of Keras that may be there")
        for key, value in config.items():
            # A seed is a number of any size.
            check_config(value, None if key == "seed" else limit)
    elif isinstance(config, list | tuple):
        for value in config:
            check_config(value, limit)
    elif isinstance(config, int | float):
        if limit is not None and abs(config) > limit:
            raise ValueError(f"a number of its configuration is {config}")
    elif config is not None and not isinstance(config, str):
        raise ValueError(f"{config!r} is no part of a configuration")


def _is_kerass(class_name: str, module: str = "", registered_name: Any = None, **_: Any) -> bool:
    found = getattr(MODULES.get(module), class_name, None)
    return isinstance(found, type) and registered_name is None


def describe(layer: keras.layers.Layer) -> dict[str, Any]:
    """The configuration of a layer as a file holds it.

    Raises:
        ValueError: if its class, or a part of it, is none that a file can hold.
    """
    name = type(layer).__name__
    if {**ATTENTIONS, **HEADS}.get(name) is not type(layer):
        raise ValueError(
            f"Expected attention of keras_cbam, and a head of {', '.join(HEADS)}. "
            f"Received: layer {layer.name} of class {name}"
        )
    config = json.loads(json.dumps(layer.get_config()))
    try:
        check_config(config)
    except ValueError as error:
        raise ValueError(f"Layer {layer.name} cannot be in an adapter: {error}") from error
    return {"class_name": name, "config": config}


def rebuild(description: dict[str, Any]) -> keras.layers.Layer:
    """A new layer of a configuration that has been checked, not built."""
    kind = {**ATTENTIONS, **HEADS}[description["class_name"]]
    return kind.from_config(description["config"])
