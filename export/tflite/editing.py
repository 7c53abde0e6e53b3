"""Functions that add tensors, constants and operations to a TFLite graph."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .graph import Graph


def add_constant(graph: Graph, values: np.ndarray, scales: ArrayLike = ()) -> int:
    """Add a constant, and return the index of its tensor.

    Args:
        graph: the graph.
        values: the values of the constant.
        scales: quantization scales, along the first axis if there are several. Zero points are 0.
    """
    from ai_edge_litert import schema_py_generated as schema

    kind = getattr(schema.TensorType, values.dtype.name.upper())
    buffer = graph.add_buffer(values.reshape(-1).view("uint8"))
    tensor = schema.TensorT(list(values.shape), kind, buffer)
    scales = np.asarray(scales)
    if len(scales):
        tensor.quantization = schema.QuantizationParametersT(
            scale=scales.tolist(), zeroPoint=[0] * len(scales)
        )
    return _append(graph, tensor)


def add_like(graph: Graph, tensor: int, shape: Sequence[int] | None = None) -> int:
    """Add a computed tensor with the type and quantization of another, and return its index.

    Args:
        graph: the graph.
        tensor: index of the other tensor.
        shape: the new shape, with fixed sizes. By default the shape of the other tensor.
    """
    added = copy.copy(graph.tensors[tensor])
    if shape is not None:
        added.shape, added.shapeSignature = list(shape), None
    added.buffer = 0
    return _append(graph, added)


def reshape(graph: Graph, tensor: int, shape: Sequence[int], output: int | None = None) -> Any:
    """Return a RESHAPE of a tensor. Its output is `output`, or a new tensor."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.OperatorT(
        opcodeIndex=operator_code(graph, schema.BuiltinOperator.RESHAPE, 1),
        inputs=[tensor, add_constant(graph, np.array(shape, "int32"))],
        outputs=[add_like(graph, tensor, shape) if output is None else output],
        builtinOptionsType=schema.BuiltinOptions.ReshapeOptions,
        builtinOptions=schema.ReshapeOptionsT(list(shape)),
    )


def operator_code(graph: Graph, operator: int, version: int) -> int:
    """Return the index of an operator code, and add one if the model has no recent enough one."""
    from ai_edge_litert import schema_py_generated as schema

    for index, code in enumerate(graph.model.operatorCodes):
        known = max(code.builtinCode, code.deprecatedBuiltinCode)
        if known == operator and code.version >= version:
            return index
    code = schema.OperatorCodeT(operator, version=version, builtinCode=operator)
    graph.model.operatorCodes.append(code)
    return len(graph.model.operatorCodes) - 1


def replace_operations(graph: Graph, written: Mapping[int, Sequence[Any]]) -> None:
    """Replace operations, and remove those whose outputs are no longer read.

    Args:
        graph: the graph.
        written: the new operations, by the index of the operation that they replace.
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
