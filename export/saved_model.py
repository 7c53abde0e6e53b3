"""SavedModel: the signature `serving_default`, with any batch size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .serving import Serving

SIGNATURE = "serving_default"


def _layers(model: Any) -> Iterator[Any]:
    """The layers of a model, and of the models in it."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def write(serving: Serving, path: Path, batch_size: int | None = None) -> list[str]:
    """Write a SavedModel directory; a `batch_size` fixes it."""
    import tensorflow as tf

    # What the signature needs, and no more: to track the whole model takes three times as long.
    module = tf.Module()
    module.variables_ = [variable.value for variable in serving.model.variables]
    module.tables = [layer for layer in _layers(serving.model) if not layer.weights]
    signatures = {SIGNATURE: serving.traced(batch_size).get_concrete_function()}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return []
