"""A TFLite file as one object, which is read once, changed by passes and written once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..children.quantization import dequantize, quantize

# Operations whose inputs are features, weights and bias.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


@dataclass(frozen=True)
class Weighted:
    """One convolution or dense operation.

    Attributes:
        index: place of the operation in the graph.
        kind: one of `WEIGHTED`.
        features: index of the input tensor.
        weights: index of the weights.
        bias: index of the bias, or -1 if there is none.
        output: index of the output tensor.
    """

    index: int
    kind: str
    features: int
    weights: int
    bias: int
    output: int


class Graph:
    """The first subgraph of a TFLite file. Tensors are identified by their index.

    Args:
        content: the bytes of the file.

    Attributes:
        model: the file as `ModelT` of LiteRT's schema. A change to it changes the graph.
    """

    def __init__(self, content: bytes):
        from ai_edge_litert import schema_py_generated as schema

        self.model: Any = schema.ModelT.InitFromPackedBuf(content)
        self._kinds, self._types = (
            {value: name for name, value in vars(each).items() if isinstance(value, int)}
            for each in (schema.BuiltinOperator, schema.TensorType)
        )

    def packed(self) -> bytes:
        """Return the bytes of the file."""
        import flatbuffers

        builder = flatbuffers.Builder()
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    @property
    def tensors(self) -> list[Any]:
        """The tensors, as `TensorT`."""
        return self.model.subgraphs[0].tensors

    @property
    def operators(self) -> list[Any]:
        """The operations in the order of computation, as `OperatorT`."""
        return self.model.subgraphs[0].operators

    @operators.setter
    def operators(self, operators: list[Any]) -> None:
        self.model.subgraphs[0].operators = operators

    @property
    def inputs(self) -> list[int]:
        """The indices of the input tensors."""
        return [int(tensor) for tensor in self.model.subgraphs[0].inputs]

    @property
    def outputs(self) -> list[int]:
        """The indices of the output tensors."""
        return [int(tensor) for tensor in self.model.subgraphs[0].outputs]

    def operations(self) -> Iterator[tuple[str, Any]]:
        """Yield the kind of each operation, such as `"CONV_2D"`, and the operation."""
        for operator in self.operators:
            code = self.model.operatorCodes[operator.opcodeIndex]
            yield self._kinds[max(code.builtinCode, code.deprecatedBuiltinCode)], operator

    def weighted(self) -> Iterator[Weighted]:
        """Yield the convolutions and dense operations, in the order of computation."""
        for index, (kind, operator) in enumerate(self.operations()):
            if kind in WEIGHTED:
                features, weights, bias = [int(tensor) for tensor in [*operator.inputs, -1]][:3]
                yield Weighted(index, kind, features, weights, bias, int(operator.outputs[0]))

    def signature(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return the input and the output tensors, by their names in the signature."""
        signature = self.model.signatureDefs[0]
        inputs, outputs = (
            {text(each.name): each.tensorIndex for each in some}
            for some in (signature.inputs, signature.outputs)
        )
        return inputs, outputs

    def name(self, tensor: int) -> str:
        """Return the tensor's name."""
        return text(self.tensors[tensor].name)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the tensor's shape."""
        return _sizes(self.tensors[tensor].shape)

    def free_shape(self, tensor: int) -> tuple[int, ...]:
        """Return the tensor's shape, with -1 for free sizes such as the batch."""
        return _sizes(self.tensors[tensor].shapeSignature) or self.shape(tensor)

    def dtype(self, tensor: int) -> np.dtype:
        """Return the type of the tensor's elements."""
        return np.dtype(self._types[self.tensors[tensor].type].lower())

    def scales(self, tensor: int) -> np.ndarray:
        """Return the tensor's scales; an empty array if it is not quantized."""
        quantization = self.tensors[tensor].quantization
        found = None if quantization is None else quantization.scale
        return np.asarray([] if found is None else found, "float32")

    def set_scales(self, tensor: int, scales: ArrayLike) -> None:
        """Replace the scales of a quantized tensor."""
        self.tensors[tensor].quantization.scale = np.array(scales, "float32").reshape(-1)

    def axes_within_a_channel(self, tensor: int) -> tuple[int, ...]:
        """Return the axes of a weight other than the one that its scales belong to."""
        channels = int(self.tensors[tensor].quantization.quantizedDimension)
        return tuple(axis for axis in range(len(self.shape(tensor))) if axis != channels)

    def quantize(self, value: np.ndarray, tensor: int) -> np.ndarray:
        """Quantize real values as the tensor is; return them unchanged if it is not quantized."""
        return quantize(value, *self._step(tensor), self.dtype(tensor))

    def dequantize(self, value: np.ndarray, tensor: int) -> np.ndarray:
        """Return values of the tensor in real units, as float64."""
        return dequantize(value.astype("float64"), *self._step(tensor), "float64")

    def _step(self, tensor: int) -> tuple[float, int]:
        """Return scale and zero point; 0 and 0 if the tensor is not quantized."""
        scales = self.scales(tensor)
        if not len(scales):
            return 0.0, 0
        return scales[0], next(iter(_sizes(self.tensors[tensor].quantization.zeroPoint)), 0)

    def is_constant(self, tensor: int) -> bool:
        """Tell whether the file holds the tensor's values."""
        data = self._buffer(tensor).data
        return data is not None and len(data) > 0

    def values(self, tensor: int) -> np.ndarray:
        """Return the values of a constant. Do not change them in place."""
        data = np.asarray(self._buffer(tensor).data, "uint8")
        return data.view(self.dtype(tensor)).reshape(self.shape(tensor))

    def set_values(self, tensor: int, values: np.ndarray) -> None:
        """Replace the values of a constant, and of every tensor that shares its buffer."""
        values = np.ascontiguousarray(values, self.dtype(tensor))
        self._buffer(tensor).data = values.reshape(-1).view("uint8")

    def real_values(self, tensor: int) -> np.ndarray:
        """Return the values of a quantized weight in real units, as float64."""
        scales = self.scales(tensor).astype("float64")
        return self.values(tensor) * np.expand_dims(scales, self.axes_within_a_channel(tensor))

    def own_buffer(self, tensor: int) -> None:
        """Give a constant a buffer that no other tensor reads."""
        entry = self.tensors[tensor]
        if sum(each.buffer == entry.buffer for each in self.tensors) > 1:
            entry.buffer = self.add_buffer(self._buffer(tensor).data)

    def add_buffer(self, data: Any) -> int:
        """Add a buffer of these bytes to the file, and return its index."""
        from ai_edge_litert import schema_py_generated as schema

        self.model.buffers.append(schema.BufferT(data))
        return len(self.model.buffers) - 1

    def is_known(self, tensor: int) -> bool:
        """Tell whether the tensor is a constant, or is converted from a float16 constant."""
        return self.is_constant(self._source(tensor))

    def constant(self, tensor: int) -> np.ndarray:
        """Return the values of a tensor for which `is_known` is true."""
        return self.values(self._source(tensor)).astype(self.dtype(tensor))

    def _source(self, tensor: int) -> int:
        """Return the float16 tensor that DEQUANTIZE converts to a tensor, or the tensor itself."""
        for kind, operator in self.operations():
            if kind == "DEQUANTIZE" and operator.outputs[0] == tensor:
                source = int(operator.inputs[0])
                return source if self.dtype(source) == np.float16 else tensor
        return tensor

    def _buffer(self, tensor: int) -> Any:
        return self.model.buffers[self.tensors[tensor].buffer]


def pairs(graph: Graph, twin: Graph) -> list[tuple[Weighted, Weighted]]:
    """Return pairs of the same weighted operation in two graphs of one network.

    The list is empty if the shapes of their weights differ.
    """
    ours, theirs = list(graph.weighted()), list(twin.weighted())
    shapes = [[g.shape(o.weights) for o in ops] for g, ops in ((graph, ours), (twin, theirs))]
    return list(zip(ours, theirs, strict=True)) if shapes[0] == shapes[1] else []


def name_as_signature(graph: Graph) -> None:
    """Rename the input and output tensors to their names in the signature.

    Some runtimes see only the tensor names, and those that the converter writes look like
    `serving_default_image:0`.
    """
    named: dict[str, int] = {}
    for some in graph.signature():
        for name, tensor in some.items():
            # A name can belong to only one tensor, and a tensor can have only one name.
            if name not in named and tensor not in named.values():
                named[name] = tensor
                graph.tensors[tensor].name = name


def text(name: bytes | str) -> str:
    """Return a name as text. It is bytes in a file that was read, and text if it was set."""
    return name.decode() if isinstance(name, bytes) else name


def _sizes(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(size) for size in values)
