"""Bias correction of TFLite files with integer weights. `source.rounding` explains it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..children.arrays import load_arrays
from ..children.process import run_in_child
from ..children.quantization import clipped
from ..source.rounding import mean_shift
from .graph import Graph, Weighted, pairs
from .interpreter import runs


def correct_biases(
    graph: Graph, twin: Graph, twin_file: Path, samples: dict[str, np.ndarray], scratch: Path
) -> None:
    """Correct each bias for the shift that rounding the weights of its operation causes.

    The graph is not changed if its convolutions differ from those of its twin.

    Args:
        graph: a graph with integer weights.
        twin: the float32 graph of the same network.
        twin_file: the file of the twin.
        samples: one array for each input of the network, by name.
        scratch: a directory for temporary files.

    Raises:
        RuntimeFailure: if LiteRT cannot run the float32 file.
    """
    corrected = [
        (ours, theirs)
        for ours, theirs in pairs(graph, twin)
        if ours.bias >= 0 and len(graph.scales(ours.weights))
    ]
    features = json.dumps(sorted({theirs.features for _, theirs in corrected}))
    means = run_in_child("tflite.bias", twin_file, features, samples, folder=scratch)
    for ours, theirs in corrected:
        error = graph.real_values(ours.weights) - twin.values(theirs.weights).astype("float64")
        shift = mean_shift(_by_output(error, ours), means[str(theirs.features)])
        _add_to_bias(graph, ours.bias, -shift)


def main(path: str, tensors: str, samples: str) -> dict[str, np.ndarray]:
    """Run a float32 file on samples, and return the means of each channel of its tensors.

    This runs in a child process.

    Args:
        path: path of the file.
        tensors: JSON list of the indices of the tensors, which are channels last.
        samples: path of the stored samples, with one array for each input of the network.

    Returns:
        The means by the index of the tensor.
    """
    values: dict[int, list[np.ndarray]] = {tensor: [] for tensor in json.loads(tensors)}
    for interpreter in runs(path, load_arrays(samples)):
        for tensor, means in values.items():
            value = interpreter.get_tensor(tensor)
            means.append(value.reshape(-1, value.shape[-1]).mean(0, dtype="float64"))
    return {str(tensor): np.mean(means, axis=0) for tensor, means in values.items()}


def _by_output(weights: np.ndarray, operation: Weighted) -> np.ndarray:
    """Reshape weights to `(output channels, input channels per group, kernel positions)`."""
    if operation.kind == "DEPTHWISE_CONV_2D":  # (1, height, width, output channels)
        return weights.reshape(-1, weights.shape[-1]).T[:, None]
    # (output channels, height, width, input channels per group); dense weights lack the middle two
    return np.swapaxes(weights.reshape(len(weights), -1, weights.shape[-1]), 1, 2)


def _add_to_bias(graph: Graph, tensor: int, change: np.ndarray) -> None:
    """Add a change in real units to a bias."""
    values, scales = graph.values(tensor), graph.scales(tensor).astype("float64")
    if len(scales):
        graph.set_values(tensor, clipped(np.rint(values + change / scales), values.dtype))
    else:
        graph.set_values(tensor, values + change.astype(values.dtype))
