"""Tensors, constants and operations added to a TFLite file, as the schema's own objects."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def add_constant(model: Any, values: np.ndarray, scales: ArrayLike = ()) -> int:
    """Add a constant, and return its tensor.

    Args:
        model: the file as `schema.ModelT`.
        values: what it holds.
        scales: of the values, by their first axis if there are several; zero points are 0.
    """
    from ai_edge_litert import schema_py_generated as schema

    buffer, tensor = schema.BufferT(), schema.TensorT()
    buffer.data = values.reshape(-1).view("uint8")
    tensor.shape, tensor.buffer = list(values.shape), len(model.buffers)
    tensor.type = getattr(schema.TensorType, values.dtype.name.upper())
    scales = np.asarray(scales)
    if len(scales):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = scales.tolist()
        tensor.quantization.zeroPoint = [0] * len(scales)
    model.buffers.append(buffer)
    return _append(model, tensor)


def add_like(model: Any, tensor: int, shape: Sequence[int] | None = None) -> int:
    """Add a tensor that is computed, of another's type and quantization, and return it.

    Args:
        model: the file as `schema.ModelT`.
        tensor: the other.
        shape: with no size free; by default the other's.
    """
    added = copy.copy(model.subgraphs[0].tensors[tensor])
    if shape is not None:
        added.shape, added.shapeSignature = list(shape), None
    added.buffer = 0
    return _append(model, added)


def reshape(model: Any, tensor: int, shape: Sequence[int], output: int | None = None) -> Any:
    """A RESHAPE of a tensor, to `output` or to a tensor that is added."""
    from ai_edge_litert import schema_py_generated as schema

    made = schema.OperatorT()
    made.opcodeIndex = operator_code(model, schema.BuiltinOperator.RESHAPE, 1)
    made.inputs = [tensor, add_constant(model, np.array(shape, "int32"))]
    made.outputs = [add_like(model, tensor, shape) if output is None else output]
    made.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    made.builtinOptions = schema.ReshapeOptionsT()
    made.builtinOptions.newShape = list(shape)
    return made


def operator_code(model: Any, operator: int, version: int) -> int:
    """The index of an operator's code, added if the model has none of this version or later."""
    from ai_edge_litert import schema_py_generated as schema

    for index, code in enumerate(model.operatorCodes):
        known = max(code.builtinCode, code.deprecatedBuiltinCode)
        if known == operator and code.version >= version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def replace_operations(model: Any, written: Mapping[int, Sequence[Any]]) -> None:
    """Write operations in the place of others, and drop those that nothing reads any more.

    Args:
        model: the file as `schema.ModelT`.
        written: the new ones, by the place of the operation that they stand for.
    """
    graph = model.subgraphs[0]
    graph.operators = [
        made for index, one in enumerate(graph.operators) for made in written.get(index, [one])
    ]
    read = {int(tensor) for each in graph.operators for tensor in each.inputs}
    read.update(int(tensor) for tensor in graph.outputs)
    graph.operators = [
        each for each in graph.operators if not len(each.outputs) or read.intersection(each.outputs)
    ]


def _append(model: Any, tensor: Any) -> int:
    tensors = model.subgraphs[0].tensors
    tensor.name = f"lowered/{len(tensors)}"
    tensors.append(tensor)
    return len(tensors) - 1
