"""Runs a SavedModel in TensorFlow, in a child process."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..children.batches import BATCH_SIZES, Outputs, in_batches
from .saved_model_operations import check_operations

# Largest difference between the signature of JPEG bytes and the other one on the decoded images.
LARGEST_JPEG_ERROR = 1e-4


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run the artifact on the inputs, and return its outputs and notes for the report."""
    import tensorflow as tf

    check_operations(artifact)
    loaded = tf.saved_model.load(artifact)
    serve = loaded.signatures["serving_default"]

    def answer(batch: Outputs) -> Outputs:
        found = serve(**{name: tf.constant(value) for name, value in batch.items()})
        return {name: value.numpy() for name, value in found.items()}

    notes = [_check_jpeg(loaded, inputs)] if "serving_jpeg" in loaded.signatures else []
    return in_batches(answer, inputs), notes


def _check_jpeg(loaded: Any, inputs: Outputs) -> str:
    """Compare the signature of JPEG bytes with the other one on the decoded images."""
    import tensorflow as tf

    (name, values), *_ = inputs.items()
    pixels = np.clip(values[: BATCH_SIZES[-1]], 0, 255).astype("uint8")
    encoded = [tf.io.encode_jpeg(image, quality=95) for image in pixels]
    decoded = np.stack([tf.io.decode_jpeg(each, channels=3).numpy() for each in encoded])
    found = loaded.signatures["serving_jpeg"](jpeg=tf.stack(encoded))
    as_taken = tf.constant(decoded.astype(values.dtype))
    expected = loaded.signatures["serving_default"](**{name: as_taken})
    for output, value in expected.items():
        largest = float(np.abs(found[output].numpy() - value.numpy()).max())
        if largest > LARGEST_JPEG_ERROR * max(1.0, float(np.abs(value.numpy()).max())):
            raise ValueError(f"serving_jpeg differs from serving_default by {largest:.2g}")
    return f"serving_jpeg verified on {len(pixels)} files"
