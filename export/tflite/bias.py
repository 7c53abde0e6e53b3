"""Bias correction of a TFLite file with integer weights.

Rounding a weight shifts the mean of its channel by the rounding error times the mean of what it
multiplies, and a deep network adds the shifts up. Each bias takes back its own:
[Nagel et al., 2019](https://arxiv.org/abs/1906.04721), section 4.2, with means measured.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from ..children.arrays import load_arrays, save_arrays
from ..children.process import run_in_child
from .graph import QuantizedGraph, Weighted, each_input, pairs

# That the means are taken over.
IMAGES = 32


def correct_biases(
    content: bytes, float_content: bytes, samples: dict[str, np.ndarray], scratch: Path
) -> bytes:
    """Return the file with corrected biases.

    Args:
        content: a TFLite file with integer weights.
        float_content: the float32 file of the same network.
        samples: one array for each input of the network, by name.
        scratch: a directory for temporary files.

    Returns:
        The corrected file; unchanged if the two files do not hold the same convolutions.

    Raises:
        RuntimeFailure: if LiteRT cannot run the float32 file.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        paths = [Path(folder) / name for name in ("integer.tflite", "float.tflite", "samples.npz")]
        paths[0].write_bytes(content)
        paths[1].write_bytes(float_content)
        save_arrays(paths[2], samples)
        run_in_child("tflite.bias", *paths)
        return paths[0].read_bytes()


def main(integer_path: str, float_path: str, samples_path: str) -> None:
    """In the child process: correct the file in place."""
    samples = load_arrays(samples_path)
    graph = QuantizedGraph(Path(integer_path).read_bytes())
    reference = QuantizedGraph(Path(float_path).read_bytes())
    corrected = [
        (ours, theirs)
        for ours, theirs in pairs(graph, reference)
        if ours.bias >= 0 and len(graph.scales(ours.weights))
    ]
    means = _channel_means(float_path, {theirs.features for _, theirs in corrected}, samples)
    for ours, theirs in corrected:
        weights = reference.values(theirs.weights).astype("float64")
        error = graph.real_values(ours.weights) - weights
        graph.add_to_bias(ours.bias, -_shift(ours, error, means[theirs.features]))
    Path(integer_path).write_bytes(graph.buffer)


def _shift(operation: Weighted, error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """By how much an error of the weights shifts each output channel, away from the border."""
    if operation.kind == "DEPTHWISE_CONV_2D":  # (1, height, width, channels x multiplier)
        return error.sum((0, 1, 2)) * np.repeat(mean, error.shape[-1] // len(mean))
    if operation.kind == "FULLY_CONNECTED":
        return error @ mean
    # (output channels, height, width, input channels of a group)
    groups = len(mean) // error.shape[-1]
    each = np.repeat(mean.reshape(groups, -1), len(error) // groups, axis=0)
    return (error.sum((1, 2)) * each).sum(-1)


def _channel_means(
    path: str, tensors: set[int], samples: dict[str, np.ndarray]
) -> dict[int, np.ndarray]:
    """The mean of each channel of these tensors of a float32 file over the samples."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=path,
        num_threads=os.cpu_count(),
        # A delegate keeps its tensors to itself.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    found: dict[int, list[np.ndarray]] = {tensor: [] for tensor in tensors}
    for _ in each_input(interpreter, samples, lambda value, tensor: value):
        for tensor, means in found.items():
            value = interpreter.get_tensor(tensor)
            means.append(value.reshape(-1, value.shape[-1]).mean(0, dtype="float64"))
    return {tensor: np.mean(means, axis=0) for tensor, means in found.items()}
