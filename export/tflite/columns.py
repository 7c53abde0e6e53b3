"""One-channel convolutions in TFLite files, computed for several columns at a time.

XNNPACK computes eight or sixteen output channels at once. A convolution with one output channel,
such as that of spatial attention, uses only one of them. Columns and channels are adjacent in
memory, so a reshape turns neighbouring columns into channels, and the kernel becomes a band matrix
of its values. This only adds zeros to the sums, so integer results are the same to the bit. The 7x7
convolutions of ResNet50's attention take a half of the time in float32, a fifth in int8
(`benchmarks/NOTES.md`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .editing import add_constant, add_like, replace_operations, reshape
from .graph import Graph, Weighted

# Output channels that are computed at once. A processor with wider vectors computes sixteen.
LANES = 8
MOST_COLUMNS = 16
# The rewrite is done if it needs less than this share of the vector multiplications.
WORTHWHILE = 0.7
# Approximate limit on the size of the new kernel. That of a spatial gate has a few thousand values:
# 7 * 7 * 8 * 8.
LARGEST_KERNEL = 2**16


def columns_as_channels(graph: Graph) -> None:
    """Compute convolutions with one output channel for several columns at a time."""
    widths = {each: _columns(graph, each) for each in graph.weighted()}
    written = {
        each.index: _by_columns(graph, each, columns)
        for each, columns in widths.items()
        if columns > 1
    }
    replace_operations(graph, written)


def band(kernel: np.ndarray, columns: int, groups: int) -> np.ndarray:
    """Return the kernel that convolves groups of columns as `kernel` convolves columns.

    Args:
        kernel: `(height, width, channels)`, with an odd width and one output channel.
        columns: number of columns in a group.
        groups: width of the new kernel, in groups.

    Returns:
        `(columns, height, groups, columns * channels)`, with the output channels first as in
        TFLite.
    """
    height, width, channels = kernel.shape
    made = np.zeros((columns, height, groups * columns, channels), kernel.dtype)
    for column in range(columns):
        # First column that the kernel covers, if it is centered on `column` of the middle group.
        start = groups // 2 * columns + column - width // 2
        first, last = max(start, 0), min(start + width, groups * columns)
        made[column, :, first:last] = kernel[:, first - start : last - start]
    return made.reshape(columns, height, groups, columns * channels)


def _columns(graph: Graph, convolution: Weighted) -> int:
    """Return the best number of columns to compute at a time, or 1 to keep the operation."""
    shape, kernel = graph.shape(convolution.features), graph.shape(convolution.weights)
    if (
        convolution.kind != "CONV_2D"
        or kernel[0] != 1
        or kernel[2] % 2 == 0
        or -1 in graph.free_shape(convolution.features)
        or not _keeps_places(graph.operators[convolution.index])
        or not graph.is_known(convolution.weights)
        or (convolution.bias >= 0 and not graph.is_known(convolution.bias))
        # With int8 weights and float features, the runtime quantizes the features, with one scale.
        or _quantized(graph, convolution.weights) != _quantized(graph, convolution.features)
    ):
        return 1
    width = shape[2]
    costs = {
        columns: _groups(width, kernel[2], columns) * math.ceil(columns / LANES)
        for columns in range(1, min(width, MOST_COLUMNS) + 1)
        if width % columns == 0 and math.prod(kernel) * columns**2 <= LARGEST_KERNEL
    }
    if not costs:
        return 1
    best = min(costs, key=lambda columns: (costs[columns], -columns))
    return best if costs[best] < WORTHWHILE * costs[1] else 1


def _quantized(graph: Graph, tensor: int) -> bool:
    return len(graph.scales(tensor)) > 0


def _keeps_places(operator: Any) -> bool:
    """Tell whether a convolution keeps height and width: stride 1, no dilation, padding SAME."""
    from ai_edge_litert import schema_py_generated as schema

    options = operator.builtinOptions
    steps = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor)
    return steps == (1, 1, 1, 1) and options.padding == schema.Padding.SAME


def _groups(width: int, kernel: int, columns: int) -> int:
    """Return how many groups of input columns contribute to one group of output columns."""
    return 1 if columns == width else 2 * math.ceil(kernel // 2 / columns) + 1


def _by_columns(graph: Graph, convolution: Weighted, columns: int) -> list[Any]:
    """Return the convolution of groups of columns, between two reshapes."""
    batch, height, width, channels = graph.shape(convolution.features)
    groups = _groups(width, graph.shape(convolution.weights)[2], columns)
    kernel = band(graph.constant(convolution.weights)[0], columns, groups)
    grouped = (batch, height, width // columns)
    operator = graph.operators[convolution.index]
    before = reshape(graph, convolution.features, (*grouped, columns * channels))
    output = add_like(graph, convolution.output, (*grouped, columns))
    inputs = [before.outputs[0], _repeated(graph, convolution.weights, kernel)]
    if convolution.bias >= 0:
        bias = np.repeat(graph.constant(convolution.bias), columns)
        inputs.append(_repeated(graph, convolution.bias, bias))
    operator.inputs, operator.outputs = inputs, [output]
    after = reshape(graph, output, graph.shape(convolution.output), convolution.output)
    return [before, operator, after]


def _repeated(graph: Graph, tensor: int, values: np.ndarray) -> int:
    """Add a constant whose new channels all have the scale of the original tensor."""
    return add_constant(graph, values, np.repeat(graph.scales(tensor), len(values)))
