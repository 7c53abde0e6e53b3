"""Quantization scales of an integer TFLite file: what a runtime refuses, and the repair.

A tensor that is hardly ever other than zero in calibration, such as a hidden unit of a narrow
attention MLP that never fires, gets a scale of (next to) zero. XNNPACK then refuses the graph or
aborts the process, because its requantization factor, input scale times weight scale over output
scale, has to lie below 256. And the converter, which has to express the biases of what reads the
tensor in units of its scale, spoils these biases and the weights beside them.
"""

from __future__ import annotations

import numpy as np

from .tflite_graph import QuantizedGraph, Weighted, clipped, pack, pairs

# XNNPACK's bound is 256; half of it leaves room for rounding.
LARGEST_FACTOR = 128.0
# Of the int32 that a bias is stored in, what leaves room for the sum it is added to.
LARGEST_BIAS = 2**30


def separate_biases(content: bytes) -> bytes:
    """Give each bias a buffer of its own: the converter lets equal constants share one.

    Only then can one be changed without the others, which read it in other scales, if it is a bias
    to them at all.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph = QuantizedGraph(content)
    biases = {operation.bias for operation in graph.weighted() if operation.bias >= 0}
    model = schema.ModelT.InitFromPackedBuf(content)
    tensors = model.subgraphs[0].tensors
    taken = {tensor.buffer for index, tensor in enumerate(tensors) if index not in biases}
    for bias in sorted(biases):
        shared = tensors[bias].buffer
        if shared in taken:
            own = schema.BufferT()
            own.data = model.buffers[shared].data
            tensors[bias].buffer = len(model.buffers)
            model.buffers.append(own)
        taken.add(shared)
    return pack(model)


def repair_scales(content: bytes, float_content: bytes) -> tuple[bytes, list[str]]:
    """Raise the output scales that a runtime would refuse to the smallest it takes.

    Such a tensor holds zero wherever calibration looked, and zero stays zero at any scale. The
    weights and biases of what reads it are quantized anew from the float32 file.

    Args:
        content: an integer TFLite file.
        float_content: the float32 file of the same network.

    Returns:
        The file, repaired, and the names of the tensors whose scale was raised.
    """
    graph, reference = QuantizedGraph(content), QuantizedGraph(float_content)
    matched = pairs(graph, reference)
    repaired = []
    for operation, _ in matched:
        scale = graph.scales(operation.output)
        if not len(scale):
            continue
        products = graph.scales(operation.features)[0] * graph.scales(operation.weights)
        smallest = products.max() / LARGEST_FACTOR
        if scale[0] < smallest:
            repaired.append(graph.name(operation.output))
            scale[:] = smallest
            for reader, counterpart in matched:
                if reader.features == operation.output:
                    _quantize_anew(graph, reader, reference, counterpart)
    return bytes(graph.buffer), repaired


def _quantize_anew(
    graph: QuantizedGraph, reader: Weighted, reference: QuantizedGraph, counterpart: Weighted
) -> None:
    """Weights, symmetric in int8, and biases of an operation, for the scale of what it reads."""
    weights = reference.values(counterpart.weights).astype("float64")
    axis = graph.channel_axis(reader.weights)
    others = tuple(a for a in range(weights.ndim) if a != axis)
    scales = np.abs(weights).max(axis=others) / 127
    step = float(graph.scales(reader.features)[0])
    biases = None if reader.bias < 0 else reference.values(counterpart.bias).astype("float64")
    if biases is not None:
        scales = np.maximum(scales, np.abs(biases) / step / LARGEST_BIAS)
    if len(graph.scales(reader.weights)) == 1:
        scales = scales.max(keepdims=True)
    scales[scales == 0] = 1  # of a channel of zeros
    graph.scales(reader.weights)[:] = scales
    stored = graph.values(reader.weights)
    along = [-1 if a == axis else 1 for a in range(weights.ndim)]
    stored[:] = clipped(np.rint(weights / scales.reshape(along)), stored.dtype)
    if biases is not None:
        graph.scales(reader.bias)[:] = step * scales
        stored = graph.values(reader.bias)
        stored[:] = clipped(np.rint(biases / (step * scales)), stored.dtype)
