"""Channel means in TFLite files as convolutions, for runtimes without such a mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from .editing import add_constant, operator_code
from .graph import Graph

# The first version of CONV_2D that supports each type.
VERSIONS = {"float32": 1, "int8": 3, "int16": 4}


def channel_means_as_convolutions(graph: Graph) -> None:
    """Write each mean over the channels as a 1x1 convolution with the constant `1 / channels`.

    Some NPUs, such as Arm's Ethos-U, support convolutions but no reduction over channels.
    """
    from ai_edge_litert import schema_py_generated as schema

    means = [
        operation
        for kind, operation in graph.operations()
        if kind == "MEAN" and _is_over_channels(graph, operation)
    ]
    constants: dict[tuple[int, float], list[int]] = {}
    for mean in means:
        features = int(mean.inputs[0])
        scale = float(graph.scales(features)[0]) if len(graph.scales(features)) else 0.0
        key = (graph.shape(features)[-1], scale)
        if key not in constants:
            constants[key] = _constants(graph, features)
        mean.inputs = [features, *constants[key]]
        version = VERSIONS[graph.dtype(features).name]
        mean.opcodeIndex = operator_code(graph, schema.BuiltinOperator.CONV_2D, version)
        mean.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
        mean.builtinOptions = schema.Conv2DOptionsT(schema.Padding.VALID, strideW=1, strideH=1)


def _is_over_channels(graph: Graph, operation: Any) -> bool:
    """Tell whether a mean with `keepDims` is over the last axis of a feature map."""
    features, axes = (int(tensor) for tensor in operation.inputs)
    if graph.dtype(features).name not in VERSIONS or not graph.is_constant(axes):
        return False
    rank = len(graph.shape(features))
    over = [int(axis) % rank for axis in np.atleast_1d(graph.values(axes))]
    return rank == 4 and over == [3] and bool(operation.builtinOptions.keepDims)


def _constants(graph: Graph, features: int) -> list[int]:
    """Add the kernel of a mean over channels and a bias of zero; return their tensor indices."""
    channels = graph.shape(features)[-1]
    kernel = np.full((1, 1, 1, channels), 1 / channels, "float32")
    scales = graph.scales(features)
    if not len(scales):
        return [add_constant(graph, kernel), add_constant(graph, np.zeros(1, "float32"))]
    scale = 1 / channels / 127
    bias = np.zeros(1, "int32" if graph.dtype(features) == np.int8 else "int64")
    return [
        add_constant(graph, np.full(kernel.shape, 127, "int8"), [scale]),
        add_constant(graph, bias, [scale * float(scales[0])]),
    ]
