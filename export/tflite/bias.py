"""Bias correction of TFLite files with integer weights. `source.rounding` explains it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..children.quantization import clipped
from ..source.rounding import mean_shift
from .channel_means import channel_means
from .graph import Graph, Weighted, pairs


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
    features = {theirs.features for _, theirs in corrected}
    means = channel_means(twin_file, features, samples, scratch)
    for ours, theirs in corrected:
        error = graph.real_values(ours.weights) - twin.values(theirs.weights).astype("float64")
        shift = mean_shift(_by_output(error, ours), means[theirs.features])
        _add_to_bias(graph, ours.bias, -shift)


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
