"""Tensors, constants and operations added to a TFLite graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .graph import Graph


def add_constant(graph: Graph, values: np.ndarray, scales: ArrayLike = ()) -> int:
    """Add a constant, and return its tensor.

    Args:
        graph: the graph.
        values: what it holds.
        scales: of the values, by their first axis if there are several; zero points are 0.
    """
    from ai_edge_litert import schema_py_generated as schema

    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = values.reshape(-1).view("uint8")
    tensor.shape, tensor.buffer = list(values.shape), len(graph.model.buffers)
    tensor.type = getattr(schema.TensorType, values.dtype.name.upper())
    scales = np.asarray(scales)
    if len(scales):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales.tolist()
        tensor.quantization.zeroPoint = [0] * len(scales)
    graph.model.buffers.append(buffer)
    return _append(graph, tensor)


def add_like(graph: Graph, tensor: int, shape: Sequence[int] | None = None) -> int:
    """Add a tensor that is computed, of another's type and quantization, and return it.

    Args:
        graph: the graph.
        tensor: the other.
        shape: with no size free; by default the other's.
    """
    added = copy.copy(graph.tensors[tensor])
    if shape is not None:
        added.shape, added.shapeSignature = list(shape), None
    added.buffer = 0
    return _append(graph, added)


def reshape(graph: Graph, tensor: int, shape: Sequence[int], output: int | None = None) -> Any:
    """A RESHAPE of a tensor, to `output` or to a tensor that is added."""
    from ai_edge_litert import schema_py_generated as schema

    made = schema.OperatorT()
    made.opcodeIndex = operator_code(graph, schema.BuiltinOperator.RESHAPE, 1)
    made.inputs = [tensor, add_constant(graph, np.array(shape, "int32"))]
    made.outputs = [add_like(graph, tensor, shape) if output is None else output]
    made.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    made.builtinOptions = schema.ReshapeOptionsT()
    made.builtinOptions.newShape = list(shape)
    return made


def operator_code(graph: Graph, operator: int, version: int) -> int:
    """The index of an operator's code, added if the model has none of this version or later."""
    from ai_edge_litert import schema_py_generated as schema

    for index, code in enumerate(graph.model.operatorCodes):
        known = max(code.builtinCode, code.deprecatedBuiltinCode)
        if known == operator and code.version >= version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    graph.model.operatorCodes.append(code)
    return len(graph.model.operatorCodes) - 1


def replace_operations(graph: Graph, written: Mapping[int, Sequence[Any]]) -> None:
    """Write operations in the place of others, and drop those that nothing reads any more.

    Args:
        graph: the graph.
        written: the new ones, by the place of the operation that they stand for.
    """
    if not written:
        return
    graph.operators = [
        made for index, one in enumerate(graph.operators) for made in written.get(index, [one])
    ]
    read = {int(tensor) for each in graph.operators for tensor in each.inputs}
    read.update(graph.outputs)
    graph.operators = [
        each for each in graph.operators if not len(each.outputs) or read.intersection(each.outputs)
    ]


def _append(graph: Graph, tensor: Any) -> int:
    tensor.name = f"lowered/{len(graph.tensors)}"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
