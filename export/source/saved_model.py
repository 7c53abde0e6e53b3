"""SavedModel with the signature `serving_default`, and optionally one that takes JPEG bytes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError

from .metadata import LABELS_FILE, METADATA_FILE
from .prepare import flat_layers
from .serving import Serving

SIGNATURE = "serving_default"
JPEG_SIGNATURE = "serving_jpeg"


def write(serving: Serving, path: Path) -> list[str]:
    """Write a SavedModel directory that takes any batch size."""
    signatures = {JPEG_SIGNATURE: _jpeg(serving)} if serving.options.jpeg_signature else {}
    with tempfile.TemporaryDirectory(dir=serving.scratch) as folder:
        save(serving, path, None, signatures, _assets(serving, Path(folder)))
    return []


def _assets(serving: Serving, folder: Path) -> dict[str, Any]:
    """Write the metadata as files, and return them as assets such as `loaded.labels`."""
    import tensorflow as tf

    contents = {METADATA_FILE: json.dumps(serving.metadata.record(), indent=2)}
    if serving.metadata.labels:
        contents[LABELS_FILE] = serving.metadata.labels_text()
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {Path(name).stem: tf.saved_model.Asset(str(folder / name)) for name in contents}


def save(
    serving: Serving,
    path: Path,
    batch_size: int | None,
    more: dict[str, Any] | None = None,
    assets: dict[str, Any] | None = None,
) -> None:
    """Write a SavedModel directory.

    Args:
        serving: the model.
        path: the directory to write.
        batch_size: fixed batch size; `None` leaves it free.
        more: further signatures, as `tf.function`s by name.
        assets: files to include, as `tf.saved_model.Asset`s by name.
    """
    import tensorflow as tf

    # Track only what the signature needs. To track the whole model takes three times as long.
    module = tf.Module()
    module.variables_ = [variable.value for variable in serving.model.variables]
    module.tables = [layer for layer in flat_layers(serving.model) if not layer.weights]
    for name, asset in (assets or {}).items():
        setattr(module, name, asset)
    functions = {SIGNATURE: serving.traced(batch_size), **(more or {})}
    signatures = {name: function.get_concrete_function() for name, function in functions.items()}
    tf.saved_model.save(module, str(path), signatures=signatures)


def _jpeg(serving: Serving) -> Any:
    """Return the function of JPEG bytes, which crops the center and resizes it to the input."""
    import tensorflow as tf

    shapes = [tuple(tensor.shape) for tensor in serving.model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or None in shapes[0][1:] or shapes[0][3] != 3:
        raise InputError(
            "Expected a model of one RGB image of a fixed size with jpeg_signature. Received: "
            f"{shapes}"
        )
    height, width = shapes[0][1:3]

    def decode(content: Any) -> Any:
        image = tf.io.decode_jpeg(content, channels=3)
        found = tf.cast(tf.shape(image)[:2], "float32")
        scale = tf.reduce_min(found / (height, width))
        size = tf.cast(tf.round(scale * (height, width)), "int32")
        image = tf.image.resize_with_crop_or_pad(image, size[0], size[1])
        return tf.ensure_shape(
            tf.image.resize(image, (height, width), antialias=True), (height, width, 3)
        )

    def function(jpeg: Any) -> Any:
        pixels = tf.map_fn(decode, jpeg, fn_output_signature="float32")
        return serving.function(tf.cast(pixels, serving.model.inputs[0].dtype))

    specification = tf.TensorSpec((None,), tf.string, name="jpeg")
    return tf.function(function, input_signature=[specification], autograph=False)
