"""Bias correction of an int8 TFLite file.

Rounding of weights and activations shifts the mean of each channel, and a deep network adds the
shifts up. Each convolution's bias takes back what its channel is off by on a few calibration
images, in the order of computation, so that every correction sees those before it:
[Nagel et al., 2019](https://arxiv.org/abs/1906.04721), section 4.2, with means measured.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from .child import run_in_child
from .tflite_graph import QuantizedGraph, Weighted, pairs

IMAGES = 12


def correct_biases(
    content: bytes, float_content: bytes, samples: list[np.ndarray], scratch: Path
) -> bytes:
    """Return the int8 file with corrected biases.

    Args:
        content: an int8 TFLite file.
        float_content: the float32 file of the same network.
        samples: one array for each input of the network, in its order; a few images of each.
        scratch: a directory for temporary files.

    Returns:
        The corrected file; unchanged if the two files do not hold the same convolutions.

    Raises:
        RuntimeFailure: if LiteRT cannot run one of the files.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
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
    for operation, counterpart in pairs(graph, reference):
        if operation.bias < 0 or _is_pooled(graph, operation):
            continue
        scale = graph.scales(operation.bias).astype("float64")
        if len(scale):
            expected = _channel_means(reference, counterpart.output, samples)
            found = _channel_means(graph, operation.output, samples)
            graph.add_to_bias(operation.bias, (expected - found) / scale)
    Path(int8_path).write_bytes(graph.buffer)


def _is_pooled(graph: QuantizedGraph, operation: Weighted) -> bool:
    """Whether a convolution reads a single place: attention's MLP, whose shift does not add up."""
    shape = graph.shape(operation.features)
    return len(shape) == 4 and shape[1] == shape[2] == 1


def _channel_means(graph: QuantizedGraph, tensor: int, samples: list[np.ndarray]) -> np.ndarray:
    """The mean of each channel of a tensor over the samples, in real units."""
    from ai_edge_litert.interpreter import Interpreter

    # What XNNPACK runs keeps its tensors to itself, but for those that the graph gives out.
    outputs = graph.outputs()
    given_out = outputs[0]
    outputs[0] = tensor
    interpreter = Interpreter(model_content=bytes(graph.buffer), num_threads=os.cpu_count())
    outputs[0] = given_out
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    means = []
    for index in range(len(samples[0])):
        for entry, array in zip(details, samples, strict=True):
            value = array[index : index + 1]
            interpreter.set_tensor(entry["index"], graph.quantize(value, entry["index"]))
        interpreter.invoke()
        value = graph.dequantize(interpreter.get_tensor(tensor), tensor)
        means.append(value.reshape(-1, value.shape[-1]).mean(0))
    return np.mean(means, axis=0)
