"""Quantization scales of an int8 TFLite file: what a runtime refuses, and the repair.

A tensor that is hardly ever other than zero in calibration, such as a hidden unit of a narrow
attention MLP that never fires, gets a scale of (next to) zero. XNNPACK then refuses the graph or
aborts the process, because its requantization factor, input scale times weight scale over output
scale, has to lie below 256.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

# XNNPACK's bound is 256; half of it leaves room for rounding.
LARGEST_FACTOR = 128.0
# Operations with inputs (features, weights, bias) whose factor is bounded.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Weighted:
    """One convolution or dense operation of a TFLite graph, by tensor index; -1 for no bias."""

    features: int
    weights: int
    bias: int
    output: int


class QuantizedGraph:
    """The first subgraph of a TFLite file, whose scales and biases can be changed in place.

    Args:
        content: the file's bytes.
    """

    def __init__(self, content: bytes):
        from ai_edge_litert import schema_py_generated as schema

        self.buffer = bytearray(content)
        self.model = schema.Model.GetRootAs(self.buffer)
        self.graph = self.model.Subgraphs(0)
        self.kinds = {
            value: name
            for name, value in vars(schema.BuiltinOperator).items()
            if isinstance(value, int)
        }

    def operations(self) -> Iterator[tuple[str, Any]]:
        """Yield the kind of each operation and the operation."""
        for index in range(self.graph.OperatorsLength()):
            operation = self.graph.Operators(index)
            code = self.model.OperatorCodes(operation.OpcodeIndex())
            yield self.kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())], operation

    def weighted(self) -> Iterator[Weighted]:
        """Yield the convolutions and dense operations, in the order of computation."""
        for kind, operation in self.operations():
            if kind in WEIGHTED:
                inputs = operation.InputsAsNumpy()
                bias = int(inputs[2]) if len(inputs) > 2 else -1
                yield Weighted(int(inputs[0]), int(inputs[1]), bias, int(operation.Outputs(0)))

    def outputs(self) -> np.ndarray:
        """The tensors that the graph gives out, a view into the file."""
        return self.graph.OutputsAsNumpy()

    def scales(self, tensor: int) -> np.ndarray:
        """The scales of a tensor, a view into the file; empty if it is not quantized."""
        quantization = self.graph.Tensors(tensor).Quantization()
        if quantization is None or not quantization.ScaleLength():
            return np.empty(0, "float32")
        return quantization.ScaleAsNumpy()

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(int(size) for size in self.graph.Tensors(tensor).ShapeAsNumpy())

    def quantize(self, value: np.ndarray, tensor: int) -> np.ndarray:
        """Real values in the tensor's own units; as they are if it is not quantized."""
        scales = self.scales(tensor)
        if not len(scales):
            return value
        shifted = np.rint(value / scales[0]) + self._zero_point(tensor)
        return np.clip(shifted, -128, 127).astype("int8")

    def dequantize(self, value: np.ndarray, tensor: int) -> np.ndarray:
        """The tensor's values in real units, float64."""
        scales = self.scales(tensor)
        value = value.astype("float64")
        return (value - self._zero_point(tensor)) * float(scales[0]) if len(scales) else value

    def add_to_bias(self, tensor: int, steps: np.ndarray) -> None:
        """Add to a bias, in units of its scale."""
        values = self.bias_values(tensor)
        limits = np.iinfo("int32")
        values[:] = np.clip(np.rint(values + steps), limits.min, limits.max).astype("int32")

    def _zero_point(self, tensor: int) -> int:
        quantization = self.graph.Tensors(tensor).Quantization()
        return int(quantization.ZeroPoint(0)) if quantization.ZeroPointLength() else 0

    def name(self, tensor: int) -> str:
        """The tensor's name."""
        return self.graph.Tensors(tensor).Name().decode()

    def bias_values(self, tensor: int) -> np.ndarray:
        """The int32 values of a bias, a view into the file."""
        return self.model.Buffers(self.graph.Tensors(tensor).Buffer()).DataAsNumpy().view("int32")

    def zero_scales(self) -> list[str]:
        """Names of the tensors with a scale of zero."""
        tensors = range(self.graph.TensorsLength())
        return [self.name(t) for t in tensors if (self.scales(t) == 0).any()]


def separate_biases(content: bytes) -> bytes:
    """Give each bias a buffer of its own: the converter lets equal constants share one.

    Only then can one be changed without the others, which read it in other scales, if it is a bias
    to them at all.
    """
    import flatbuffers
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
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def repair_scales(content: bytes) -> tuple[bytes, list[str]]:
    """Raise the output scales that a runtime would refuse to the smallest it takes.

    Such a tensor holds zero wherever calibration looked, and zero stays zero at any scale. The
    biases of the operations that read it, stored in units of its scale, are converted.

    Args:
        content: an int8 TFLite file.

    Returns:
        The file, repaired, and the names of the tensors whose scale was raised.
    """
    graph = QuantizedGraph(content)
    operations = list(graph.weighted())
    repaired = []
    for operation in operations:
        scale = graph.scales(operation.output)
        if not len(scale):
            continue
        products = graph.scales(operation.features)[0] * graph.scales(operation.weights)
        smallest = products.max() / LARGEST_FACTOR
        if scale[0] < smallest:
            repaired.append(graph.name(operation.output))
            _rescale(graph, operations, operation.output, smallest)
    return bytes(graph.buffer), repaired


def _rescale(
    graph: QuantizedGraph, operations: list[Weighted], tensor: int, scale: np.float32
) -> None:
    graph.scales(tensor)[:] = scale
    for reader in operations:
        if reader.features == tensor and reader.bias >= 0:
            before = graph.scales(reader.bias)
            after = scale * graph.scales(reader.weights)
            values = graph.bias_values(reader.bias)
            converted = np.rint(values * (before.astype("float64") / after))
            limits = np.iinfo("int32")
            values[:] = np.clip(converted, limits.min, limits.max).astype("int32")
            before[:] = after
