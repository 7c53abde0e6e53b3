"""A TFLite file as tensors and operations: what is read of it, and what can be changed in place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

# Operations with inputs (features, weights, bias).
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Weighted:
    """One convolution or dense operation of a TFLite graph, by tensor index; -1 for no bias."""

    index: int
    kind: str
    features: int
    weights: int
    bias: int
    output: int


class QuantizedGraph:
    """The first subgraph of a TFLite file, whose constants and scales can be changed in place.

    Args:
        content: the file's bytes.
    """

    def __init__(self, content: bytes):
        from ai_edge_litert import schema_py_generated as schema

        self.buffer = bytearray(content)
        self.model = schema.Model.GetRootAs(self.buffer)
        self.graph = self.model.Subgraphs(0)
        self._kinds, self._types = (
            {value: name for name, value in vars(each).items() if isinstance(value, int)}
            for each in (schema.BuiltinOperator, schema.TensorType)
        )

    def operations(self) -> Iterator[tuple[str, Any]]:
        """Yield the kind of each operation and the operation."""
        for index in range(self.graph.OperatorsLength()):
            operation = self.graph.Operators(index)
            code = self.model.OperatorCodes(operation.OpcodeIndex())
            yield self._kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())], operation

    def weighted(self) -> Iterator[Weighted]:
        """Yield the convolutions and dense operations, in the order of computation."""
        for index, (kind, operation) in enumerate(self.operations()):
            if kind in WEIGHTED:
                inputs = operation.InputsAsNumpy()
                bias = int(inputs[2]) if len(inputs) > 2 else -1
                features, weights, output = inputs[0], inputs[1], operation.Outputs(0)
                yield Weighted(index, kind, int(features), int(weights), bias, int(output))

    def signature(self) -> tuple[dict[str, int], dict[str, int]]:
        """The tensors of the inputs, and of the outputs, by their names in the only signature."""
        signature = self.model.SignatureDefs(0)
        inputs = (signature.Inputs(index) for index in range(signature.InputsLength()))
        outputs = (signature.Outputs(index) for index in range(signature.OutputsLength()))
        return (
            {each.Name().decode(): each.TensorIndex() for each in inputs},
            {each.Name().decode(): each.TensorIndex() for each in outputs},
        )

    def scales(self, tensor: int) -> np.ndarray:
        """The scales of a tensor, a view into the file; empty if it is not quantized."""
        quantization = self.graph.Tensors(tensor).Quantization()
        if quantization is None or not quantization.ScaleLength():
            return np.empty(0, "float32")
        return quantization.ScaleAsNumpy()

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The tensor's shape."""
        found = self.graph.Tensors(tensor)
        return tuple(found.Shape(axis) for axis in range(found.ShapeLength()))

    def free_shape(self, tensor: int) -> tuple[int, ...]:
        """The tensor's shape with -1 for sizes that are free, such as the batch."""
        found = self.graph.Tensors(tensor)
        free = tuple(found.ShapeSignature(axis) for axis in range(found.ShapeSignatureLength()))
        return free or self.shape(tensor)

    def quantize(self, value: np.ndarray, tensor: int) -> np.ndarray:
        """Real values in the tensor's own units; as they are if it is not quantized."""
        scales = self.scales(tensor)
        if not len(scales):
            return value
        shifted = np.rint(value / scales[0]) + self._zero_point(tensor)
        return clipped(shifted, self.dtype(tensor))

    def dequantize(self, value: np.ndarray, tensor: int) -> np.ndarray:
        """The tensor's values in real units, float64."""
        scales = self.scales(tensor)
        value = value.astype("float64")
        return (value - self._zero_point(tensor)) * float(scales[0]) if len(scales) else value

    def add_to_bias(self, tensor: int, change: np.ndarray) -> None:
        """Add to a bias, in real units."""
        values, scales = self.values(tensor), self.scales(tensor)
        if len(scales):
            values[:] = clipped(np.rint(values + change / scales.astype("float64")), values.dtype)
        else:
            values[:] += change.astype(values.dtype)

    def real_values(self, tensor: int) -> np.ndarray:
        """The values of a quantized weight in real units, float64."""
        axis, scales = self.channel_axis(tensor), self.scales(tensor).astype("float64")
        values = self.values(tensor).astype("float64")
        along = [-1 if a == axis and len(scales) > 1 else 1 for a in range(values.ndim)]
        return values * scales.reshape(along)

    def store(self, tensor: int, steps: np.ndarray, scales: np.ndarray) -> None:
        """Store a constant, given in units of its new scales."""
        values = self.values(tensor)
        values[:] = clipped(np.rint(steps), values.dtype)
        self.scales(tensor)[:] = scales

    def _zero_point(self, tensor: int) -> int:
        quantization = self.graph.Tensors(tensor).Quantization()
        return int(quantization.ZeroPoint(0)) if quantization.ZeroPointLength() else 0

    def name(self, tensor: int) -> str:
        """The tensor's name."""
        return self.graph.Tensors(tensor).Name().decode()

    def dtype(self, tensor: int) -> np.dtype:
        """The type of the tensor's elements."""
        return np.dtype(self._types[self.graph.Tensors(tensor).Type()].lower())

    def is_constant(self, tensor: int) -> bool:
        """Whether the file holds the tensor's values."""
        return bool(self.model.Buffers(self.graph.Tensors(tensor).Buffer()).DataLength())

    def values(self, tensor: int) -> np.ndarray:
        """The values of a constant, a view into the file."""
        buffer = self.model.Buffers(self.graph.Tensors(tensor).Buffer())
        return buffer.DataAsNumpy().view(self.dtype(tensor)).reshape(self.shape(tensor))

    def is_known(self, tensor: int) -> bool:
        """Whether the tensor is a constant, or widened from one of float16."""
        return tensor in self._halves or self.is_constant(tensor)

    def constant(self, tensor: int) -> np.ndarray:
        """The values of a tensor that is known."""
        if tensor in self._halves:
            return self.values(self._halves[tensor]).astype("float32")
        return self.values(tensor)

    @functools.cached_property
    def _halves(self) -> dict[int, int]:
        """The float16 constants, by the float32 tensor that DEQUANTIZE makes of each."""
        made = {
            int(operation.Outputs(0)): int(operation.Inputs(0))
            for kind, operation in self.operations()
            if kind == "DEQUANTIZE"
        }
        return {
            tensor: source
            for tensor, source in made.items()
            if self.is_constant(source) and self.dtype(source) == np.float16
        }

    def channel_axis(self, tensor: int) -> int:
        """The axis that the scales of a weight are along."""
        return int(self.graph.Tensors(tensor).Quantization().QuantizedDimension())

    def zero_constants(self) -> list[int]:
        """The constants of zeros that are quantized with the scale 0; weights are none of them."""
        weights = {each.weights for each in self.weighted()}
        return [
            tensor
            for tensor in range(self.graph.TensorsLength())
            if tensor not in weights
            and len(self.scales(tensor))
            and not self.scales(tensor).any()
            and self.is_constant(tensor)
            and not self.values(tensor).any()
        ]

    def zero_scales(self) -> list[str]:
        """Names of the tensors with a scale of zero."""
        tensors = range(self.graph.TensorsLength())
        return [self.name(t) for t in tensors if (self.scales(t) == 0).any()]


def pairs(graph: QuantizedGraph, twin: QuantizedGraph) -> list[tuple[Weighted, Weighted]]:
    """The weighted operations of two files of one network, side by side.

    Empty if the two do not hold the same ones.
    """
    ours, theirs = list(graph.weighted()), list(twin.weighted())
    shapes = [[g.shape(o.weights) for o in ops] for g, ops in ((graph, ours), (twin, theirs))]
    return list(zip(ours, theirs, strict=True)) if shapes[0] == shapes[1] else []


def with_names(content: bytes) -> bytes:
    """The file with inputs and outputs called what the signature calls them.

    The converter's own names, `serving_default_image:0` and such, are all that some runtimes see.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    (signature,) = model.signatureDefs
    named: dict[bytes, int] = {}
    for each in (*signature.inputs, *signature.outputs):
        # Two tensors may not have one name, nor one tensor two.
        if each.name not in named and each.tensorIndex not in named.values():
            named[each.name] = each.tensorIndex
            model.subgraphs[0].tensors[each.tensorIndex].name = each.name
    return pack(model)


def each_input(
    interpreter: Any,
    samples: dict[str, np.ndarray],
    convert: Callable[[np.ndarray, int], np.ndarray],
) -> Iterator[None]:
    """Run an interpreter on the samples one by one, and stop after each to let its tensors be read.

    Args:
        interpreter: of LiteRT, of a file with one signature.
        samples: one array for each input, by name.
        convert: function of a value and a tensor that gives what the tensor takes.
    """
    details = interpreter.get_signature_runner().get_input_details()
    for index in range(len(next(iter(samples.values())))):
        for name, entry in details.items():
            value = np.repeat(samples[name][index : index + 1], entry["shape"][0], axis=0)
            if index == 0:
                interpreter.resize_tensor_input(entry["index"], value.shape)
        if index == 0:
            interpreter.allocate_tensors()
        for name, entry in details.items():
            value = np.repeat(samples[name][index : index + 1], entry["shape"][0], axis=0)
            interpreter.set_tensor(entry["index"], convert(value, entry["index"]))
        interpreter.invoke()
        yield


def pack(model: Any) -> bytes:
    """The bytes of a file, of the schema's object."""
    import flatbuffers

    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def clipped(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Whole numbers as `dtype`, what it cannot hold at its limits."""
    limits = np.iinfo(dtype)
    # The largest float64 below 2**63 is well below it; what is clipped to it fits.
    largest = np.nextafter(float(limits.max), 0) if limits.bits == 64 else limits.max
    return np.clip(values, limits.min, largest).astype(dtype)
