"""In a child process: what TensorFlow's analyzer says of a TFLite file on the GPU delegate."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path


def main(path: str, answer: str) -> None:
    """Write what it prints, as JSON."""
    import tensorflow as tf

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        tf.lite.experimental.Analyzer.analyze(path, gpu_compatibility=True)
    Path(answer).write_text(json.dumps(told.getvalue()))
