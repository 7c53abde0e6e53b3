"""Convolutions to one channel of a TFLite file, of several columns at a time.

XNNPACK computes eight or sixteen output channels at once, of which a convolution to one channel,
such as that of spatial attention, uses one. Channels and columns lie side by side in memory, so a
reshape makes channels of some neighbouring columns, and the kernel becomes a band of itself: the
same sums, of zeros besides, which in integers are the same to the bit. The 7x7 convolutions of
ResNet50's attention take a half of the time in float32, a fifth in int8 (`benchmarks/NOTES.md`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .editing import add_constant, add_like, replace_operations, reshape
from .graph import Graph, Weighted

# Output channels that are computed at once; a processor with wider vectors computes sixteen.
LANES = 8
MOST_COLUMNS = 16
# Of the multiplications with whole vectors before, what those after have to stay below.
WORTHWHILE = 0.7
# Values of the new kernel, nearly; that of a spatial gate has 7 * 7 * 8 * 8, and a few thousand.
LARGEST_KERNEL = 2**16


def columns_as_channels(graph: Graph) -> None:
    """Apply convolutions to one channel to several columns at a time."""
    widths = {each: _columns(graph, each) for each in graph.weighted()}
    written = {
        each.index: _by_columns(graph, each, columns)
        for each, columns in widths.items()
        if columns > 1
    }
    replace_operations(graph, written)


def band(kernel: np.ndarray, columns: int, groups: int) -> np.ndarray:
    """The kernel that convolves groups of columns as `kernel` convolves columns.

    Args:
        kernel: `(height, width, channels)`, of an odd width, to one channel.
        columns: in each group.
        groups: what the new kernel is wide.

    Returns:
        `(columns, height, groups, columns * channels)`: output channels first, as TFLite has it.
    """
    height, width, channels = kernel.shape
    made = np.zeros((columns, height, groups * columns, channels), kernel.dtype)
    for column in range(columns):
        # Where the kernel lies on the columns of all groups, the middle one of which it is for.
        start = groups // 2 * columns + column - width // 2
        first, last = max(start, 0), min(start + width, groups * columns)
        made[column, :, first:last] = kernel[:, first - start : last - start]
    return made.reshape(columns, height, groups, columns * channels)


def _columns(graph: Graph, convolution: Weighted) -> int:
    """How many columns are best taken at a time; 1 if the operation is to be left as it is."""
    shape, kernel = graph.shape(convolution.features), graph.shape(convolution.weights)
    if (
        convolution.kind != "CONV_2D"
        or kernel[0] != 1
        or kernel[2] % 2 == 0
        or -1 in graph.free_shape(convolution.features)
        or not _keeps_places(graph.operators[convolution.index])
        or not graph.is_known(convolution.weights)
        or (convolution.bias >= 0 and not graph.is_known(convolution.bias))
        # Weights alone are quantized: their features are as they come, with a scale for all.
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
    """Whether a convolution gives one value for each place, of the places around it."""
    from ai_edge_litert import schema_py_generated as schema

    options = operator.builtinOptions
    steps = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor)
    return steps == (1, 1, 1, 1) and options.padding == schema.Padding.SAME


def _groups(width: int, kernel: int, columns: int) -> int:
    """From how many groups of columns those of one group are summed."""
    return 1 if columns == width else 2 * math.ceil(kernel // 2 / columns) + 1


def _by_columns(graph: Graph, convolution: Weighted, columns: int) -> list[Any]:
    """The convolution of groups of columns, between two reshapes."""
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
    """A constant of one scale for each of the new channels, that of the tensor it is made of."""
    return add_constant(graph, values, np.repeat(graph.scales(tensor), len(values)))
