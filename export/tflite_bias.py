"""Bias correction of an int8 TFLite file.

Rounding of weights and activations shifts the mean of each channel, and a deep network adds the
shifts up. Each convolution's bias takes back what its channel is off by on a few calibration
images, in the order of computation, so that every correction sees those before it:
[Nagel et al., 2019](https://arxiv.org/abs/1906.04721), section 4.2, with means measured.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .child import run_in_child
from .tflite_scales import QuantizedGraph, Weighted

IMAGES = 12


def correct_biases(content: bytes, float_content: bytes, samples: list[np.ndarray]) -> bytes:
    """Return the int8 file with corrected biases.

    Args:
        content: an int8 TFLite file.
        float_content: the float32 file of the same network.
        samples: one array for each input of the network, in its order; a few images of each.

    Returns:
        The corrected file; unchanged if the two files do not hold the same convolutions.

    Raises:
        RuntimeFailure: if LiteRT cannot run one of the files.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("int8.tflite", "float.tflite", "samples.npz")]
        paths[0].write_bytes(content)
        paths[1].write_bytes(float_content)
        np.savez(paths[2], *samples)
        run_in_child("tflite_bias", *paths)
        return paths[0].read_bytes()


def main(int8_path: str, float_path: str, samples_path: str) -> None:
    """In the child process: correct the int8 file in place."""
    with np.load(samples_path) as file:
        samples = [file[name] for name in file.files]
    graph = QuantizedGraph(Path(int8_path).read_bytes())
    reference = QuantizedGraph(Path(float_path).read_bytes())
    ours, theirs = list(graph.weighted()), list(reference.weighted())
    shapes = [[g.shape(o.weights) for o in ops] for g, ops in ((graph, ours), (reference, theirs))]
    if shapes[0] != shapes[1]:
        return
    expected = _channel_means(reference, [o.output for o in theirs], samples)
    for operation, mean in zip(ours, expected, strict=True):
        if operation.bias < 0 or _is_pooled(graph, operation):
            continue
        scale = graph.scales(operation.bias).astype("float64")
        if len(scale):
            (found,) = _channel_means(graph, [operation.output], samples)
            graph.add_to_bias(operation.bias, (mean - found) / scale)
    Path(int8_path).write_bytes(graph.buffer)


def _is_pooled(graph: QuantizedGraph, operation: Weighted) -> bool:
    """Whether a convolution reads a single place: attention's MLP, whose shift does not add up."""
    shape = graph.shape(operation.features)
    return len(shape) == 4 and shape[1] == shape[2] == 1


def _channel_means(
    graph: QuantizedGraph, tensors: list[int], samples: list[np.ndarray]
) -> list[np.ndarray]:
    """The mean of each channel of tensors over the samples, in real units."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # A delegate would keep the tensors between operations to itself.
    interpreter = Interpreter(
        model_content=bytes(graph.buffer),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
        num_threads=2,
    )
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    sums: list[Any] = [0.0] * len(tensors)
    for index in range(len(samples[0])):
        for entry, array in zip(details, samples, strict=True):
            value = array[index : index + 1]
            interpreter.set_tensor(entry["index"], graph.quantize(value, entry["index"]))
        interpreter.invoke()
        for position, tensor in enumerate(tensors):
            value = graph.dequantize(interpreter.get_tensor(tensor), tensor)
            sums[position] += value.reshape(-1, value.shape[-1]).mean(0)
    return [total / len(samples[0]) for total in sums]
