"""SavedModel: the signature `serving_default`, with any batch size."""

from __future__ import annotations

from pathlib import Path

import keras

from .serving import Serving

SIGNATURE = "serving_default"


def write(serving: Serving, path: Path) -> list[str]:
    """Write a SavedModel directory."""
    archive = keras.export.ExportArchive()
    archive.track(serving.model)
    archive.add_endpoint(SIGNATURE, serving.function, input_signature=serving.signature(None))
    archive.write_out(path, verbose=False)
    return []
