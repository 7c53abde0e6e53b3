"""Per-channel means of tensors in a TFLite file, over samples."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..children.arrays import load_arrays
from ..children.process import run_in_child
from .interpreter import runs


def channel_means(
    path: Path, tensors: Collection[int], samples: dict[str, np.ndarray], scratch: Path
) -> dict[int, np.ndarray]:
    """Run a float32 file on the samples in a child process, and return the means by tensor.

    Args:
        path: path of the file.
        tensors: indices of the tensors, which are channels last.
        samples: one array for each input of the network, by name.
        scratch: a directory for temporary files.

    Raises:
        RuntimeFailure: if LiteRT cannot run the file.
    """
    asked = json.dumps(sorted(tensors))
    found = run_in_child("tflite.channel_means", path, asked, samples, folder=scratch)
    return {int(tensor): means for tensor, means in found.items()}


def main(path: str, tensors: str, samples: str) -> dict[str, np.ndarray]:
    """Run the file in the child process, and return the means by tensor index."""
    values: dict[int, list[np.ndarray]] = {tensor: [] for tensor in json.loads(tensors)}
    for interpreter in runs(path, load_arrays(samples)):
        for tensor, means in values.items():
            value = interpreter.get_tensor(tensor)
            means.append(value.reshape(-1, value.shape[-1]).mean(0, dtype="float64"))
    return {str(tensor): np.mean(means, axis=0) for tensor, means in values.items()}
