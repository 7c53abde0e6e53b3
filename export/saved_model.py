"""SavedModel: the signature `serving_default`, with any batch size."""

from __future__ import annotations

from pathlib import Path

from .prepare import flat_layers
from .serving import Serving

SIGNATURE = "serving_default"


def write(serving: Serving, path: Path) -> list[str]:
    """Write a SavedModel directory."""
    save(serving, path, None)
    return []


def save(serving: Serving, path: Path, batch_size: int | None) -> None:
    """Write a SavedModel directory; a `batch_size` fixes it."""
    import tensorflow as tf

    # What the signature needs, and no more: to track the whole model takes three times as long.
    module = tf.Module()
    module.variables_ = [variable.value for variable in serving.model.variables]
    module.tables = [layer for layer in flat_layers(serving.model) if not layer.weights]
    signatures = {SIGNATURE: serving.traced(batch_size).get_concrete_function()}
    tf.saved_model.save(module, str(path), signatures=signatures)
