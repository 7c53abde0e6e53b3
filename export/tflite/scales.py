"""Quantization scales of an integer TFLite file: what a runtime refuses, and the repair.

A tensor that is hardly ever other than zero in calibration, such as a hidden unit of a narrow
attention MLP that never fires, gets a scale of (next to) zero. XNNPACK then refuses the graph or
aborts the process, because its requantization factor, input scale times weight scale over output
scale, has to lie below 256. A sum of such tensors, as channel attention makes of its two pools, has
no scale either, nor has what a constant of zeros makes, such as gamma in attention that is still
the identity; LiteRT aborts at the factor from their operands. And the converter, which has to
express the biases of what reads the tensor in units of its scale, spoils these biases and the
weights beside them.
"""

from __future__ import annotations

import copy
import math

import numpy as np

from ..children.quantization import clipped
from .graph import Graph, Weighted, pairs

# XNNPACK's bound is 256, that of LiteRT's int16 convolutions 128; half leaves room for rounding.
LARGEST_FACTOR = 64.0
# Of a term's scale over its sum's, by the sum's type: half of XNNPACK's bound, and of LiteRT's.
LARGEST_TERM = {"int8": 128.0, "int16": 2.0**13}
SUMS = ("ADD", "SUB")
# Of the int32 that a bias is stored in, what leaves room for the sum it is added to.
LARGEST_BIAS = 2**30
# In an int32 LiteRT counts an int16 sum in steps of the output, before it is cut to int16.
LARGEST_SUM = 2**30
# Between the scales of a weight's channels: what lies below counts for nothing beside the others.
LARGEST_RATIO = 2**20

# Operations of a file beside those of its float32 twin.
Pairs = list[tuple[Weighted, Weighted]]


def separate_biases(graph: Graph) -> None:
    """Give each operation a bias of its own, in the units that the runtime takes it in.

    The converter stores equal constants once. A bias can then not be changed without what else
    reads it; and with int16 activations a layer that is applied twice keeps the bias of the first
    time, in units that are wrong the second time.
    """
    biased = [each for each in graph.weighted() if each.bias >= 0]
    units = [_in_units(graph, each) for each in biased]
    done: set[int] = set()
    for operation, (values, scales) in zip(biased, units, strict=True):
        bias = operation.bias
        if bias in done:
            bias = _copied(graph, operation)
        done.add(bias)
        if len(scales):
            graph.set_scales(bias, scales)
        graph.own_buffer(bias)
        graph.set_values(bias, values)


def _copied(graph: Graph, operation: Weighted) -> int:
    """The bias of an operation, as a tensor that nothing else reads."""
    tensor = copy.copy(graph.tensors[operation.bias])
    tensor.quantization = copy.copy(tensor.quantization)
    reader = graph.operators[operation.index]
    reader.inputs = [*reader.inputs[:2], len(graph.tensors), *reader.inputs[3:]]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _in_units(graph: Graph, operation: Weighted) -> tuple[np.ndarray, np.ndarray]:
    """The bias of an operation and its scales, the product of those of features and weights."""
    values, scales = graph.values(operation.bias), graph.scales(operation.bias)
    if not len(scales):
        return values.copy(), scales
    with np.errstate(invalid="ignore"):  # a scale may be infinite, and is repaired later
        product = graph.scales(operation.features)[0] * graph.scales(operation.weights)
    if not (np.isfinite(product) & (product > 0)).all():
        return values.copy(), scales
    steps = values * (scales.astype("float64") / product)
    return clipped(np.rint(steps), values.dtype), product


def repair_scales(graph: Graph, twin: Graph) -> list[str]:
    """Raise the output scales that a runtime would refuse to the smallest it takes.

    Such a tensor holds zero wherever calibration looked, and zero stays zero at any scale. The
    weights and biases of what reads it are quantized anew from the float32 graph.

    Args:
        graph: of integer weights and activations.
        twin: the float32 graph of the same network.

    Returns:
        The names of the tensors whose scale was raised.
    """
    for tensor in _zero_constants(graph):
        graph.set_scales(tensor, np.ones_like(graph.scales(tensor)))
    matched = pairs(graph, twin)
    raised = _raised(graph, twin, matched)
    constants = {
        ours.weights
        for ours, _ in matched
        if ours.features in raised or _is_spoiled(graph.scales(ours.weights))
    }
    for tensor, scale in raised.items():
        graph.set_scales(tensor, scale)
    for constant in sorted(constants):
        graph.own_buffer(constant)
        readers = [pair for pair in matched if pair[0].weights == constant]
        _quantize_anew(graph, twin, readers)
    return [graph.name(tensor) for tensor in raised]


def _zero_constants(graph: Graph) -> list[int]:
    """The constants of zeros that are quantized with the scale 0; weights are none of them."""
    weights = {each.weights for each in graph.weighted()}
    return [
        tensor
        for tensor in range(len(graph.tensors))
        if tensor not in weights
        and len(graph.scales(tensor))
        and not graph.scales(tensor).any()
        and graph.is_constant(tensor)
        and not graph.values(tensor).any()
    ]


def zero_scales(graph: Graph) -> list[str]:
    """Return the names of the tensors with a scale of zero."""
    tensors = range(len(graph.tensors))
    return [graph.name(tensor) for tensor in tensors if (graph.scales(tensor) == 0).any()]


def _raised(graph: Graph, twin: Graph, matched: Pairs) -> dict[int, float]:
    """The tensors whose scale has to be raised, and to what."""
    raised: dict[int, float] = {}
    twins = {ours.index: (ours, theirs) for ours, theirs in matched}

    def scale(tensor: int) -> float:
        return raised.get(tensor, float(graph.scales(tensor)[0]))

    for index, (kind, operation) in enumerate(graph.operations()):
        output = int(operation.outputs[0])
        if not len(graph.scales(output)):
            continue
        if index in twins:
            ours, theirs = twins[index]
            smallest = _smallest(graph, twin, ours, theirs, scale(ours.features))
        elif kind in SUMS:
            terms = max(scale(int(tensor)) for tensor in operation.inputs)
            smallest = terms / LARGEST_TERM[graph.dtype(output).name]
        elif kind == "MUL":
            smallest = math.prod(scale(int(t)) for t in operation.inputs) / LARGEST_FACTOR
        else:
            continue
        if scale(output) < smallest:
            raised[output] = smallest
    return raised


def _smallest(graph: Graph, twin: Graph, ours: Weighted, theirs: Weighted, step: float) -> float:
    """The smallest output scale that the runtime takes, with `step` as that of the features."""
    # Of the float file, since the converter may have spoiled these weights.
    weights = np.abs(twin.values(theirs.weights).astype("float64"))
    others = tuple(a for a in range(weights.ndim) if a != graph.channel_axis(ours.weights))
    limits = np.iinfo(graph.dtype(ours.features))
    largest = step * (limits.max - limits.min) * weights.sum(others)
    if theirs.bias >= 0:
        largest = largest + np.abs(twin.values(theirs.bias))
    return max(
        step * float(weights.max()) / 127 / LARGEST_FACTOR, float(largest.max()) / LARGEST_SUM
    )


def _is_spoiled(scales: np.ndarray) -> bool:
    """Whether weights, or a channel of them, have been left without a scale that counts."""
    return not (np.isfinite(scales) & (scales >= np.finfo("float32").tiny)).all()


def _quantize_anew(graph: Graph, twin: Graph, readers: Pairs) -> None:
    """Weights, symmetric in int8, and biases of the operations that share them."""
    ours, theirs = readers[0]
    weights = twin.values(theirs.weights).astype("float64")
    axis = graph.channel_axis(ours.weights)
    scales = np.abs(weights).max(axis=tuple(a for a in range(weights.ndim) if a != axis)) / 127
    # A channel of next to nothing, whose scale only its bias is counted in, gets a usable one.
    scales = np.maximum(scales, scales.max() / LARGEST_RATIO or 1)
    biases = []
    for each, other in readers:
        if each.bias >= 0:
            values = twin.values(other.bias).astype("float64")
            step = float(graph.scales(each.features)[0])
            biases.append((each.bias, values, step))
            scales = np.maximum(scales, np.abs(values) / step / LARGEST_BIAS)
    if len(graph.scales(ours.weights)) == 1:
        scales = scales.max(keepdims=True)
    along = [-1 if a == axis else 1 for a in range(weights.ndim)]
    _store(graph, ours.weights, weights / scales.reshape(along), scales)
    for tensor, values, step in biases:
        _store(graph, tensor, values / (step * scales), step * scales)


def _store(graph: Graph, tensor: int, steps: np.ndarray, scales: np.ndarray) -> None:
    """Store a constant, given in units of its new scales."""
    graph.set_values(tensor, clipped(np.rint(steps), graph.dtype(tensor)))
    graph.set_scales(tensor, np.broadcast_to(scales, graph.scales(tensor).shape))
