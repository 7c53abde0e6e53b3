"""Repair of the quantization scales of integer TFLite files.

A tensor that is almost always zero in calibration gets a scale of (next to) zero. An example is a
hidden unit of a narrow attention MLP that never fires. XNNPACK then refuses the graph or aborts the
process, because its requantization factor (input scale * weight scale / output scale) has to be
less than 256.

Sums of such tensors have no usable scale either, such as the sum over the two pools of channel
attention. Nor do the results of constants of zeros, such as gamma in attention that is still the
identity. LiteRT aborts at the factor between the scales of their operands and their own.

The converter expresses the bias of an operation in units of the scale of its input. If that scale
is next to zero, the converter spoils the bias and the weights of the operation.
"""

from __future__ import annotations

import copy
import math

import numpy as np

from ..children.quantization import clipped
from .graph import Graph, Weighted, pairs

# Limit on the requantization factor. XNNPACK's bound is 256, and that of LiteRT's int16
# convolutions is 128; half of the latter leaves room for rounding.
LARGEST_FACTOR = 64.0
# Limit on the scale of a term divided by the scale of its sum, by the type of the sum. It is half
# of XNNPACK's bound for int8, and half of LiteRT's for int16.
LARGEST_TERM = {"int8": 128.0, "int16": 2.0**13}
SUMS = ("ADD", "SUB")
# Largest stored bias. An int32 then has room for the sum that the bias is added to.
LARGEST_BIAS = 2**30
# Largest sum in steps of the output scale. LiteRT holds it in an int32 before it clips it to int16.
LARGEST_SUM = 2**30
# Largest ratio between the scales of the channels of a weight. Smaller channels are negligible.
LARGEST_RATIO = 2**20

# Operations of a graph, with the same operations of its float32 twin.
Pairs = list[tuple[Weighted, Weighted]]


def separate_biases(graph: Graph) -> None:
    """Give each operation its own bias, in the units that the runtime expects.

    The converter stores equal constants once, so a change to one bias could change other tensors.
    With int16 activations, a layer that is applied twice keeps the bias of its first application,
    in units that are wrong for the second.
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
    """Copy the bias of an operation to a new tensor that only this operation reads."""
    tensor = copy.copy(graph.tensors[operation.bias])
    tensor.quantization = copy.copy(tensor.quantization)
    reader = graph.operators[operation.index]
    reader.inputs = [*reader.inputs[:2], len(graph.tensors), *reader.inputs[3:]]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _in_units(graph: Graph, operation: Weighted) -> tuple[np.ndarray, np.ndarray]:
    """Return a bias in units of feature scale times weight scale, and its scales."""
    values, scales = graph.values(operation.bias), graph.scales(operation.bias)
    if not len(scales):
        return values.copy(), scales
    with np.errstate(invalid="ignore"):  # an infinite scale is repaired later
        product = graph.scales(operation.features)[0] * graph.scales(operation.weights)
    if not (np.isfinite(product) & (product > 0)).all():
        return values.copy(), scales
    steps = values * (scales.astype("float64") / product)
    return clipped(np.rint(steps), values.dtype), product


def repair_scales(graph: Graph, twin: Graph) -> list[str]:
    """Raise output scales that a runtime would refuse to the smallest accepted value.

    Such a tensor was zero on all calibration data, and zero stays zero at any scale. The weights
    and biases of the operations that read it are quantized again from the float32 graph.

    Args:
        graph: a graph with integer weights and activations.
        twin: the float32 graph of the same network.

    Returns:
        The names of the tensors whose scales were raised.
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
    """Return the constants of zeros with the scale 0, except weights."""
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
    """Return the new scale of each tensor whose scale has to be raised."""
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
    """Return the smallest output scale that the runtime accepts, for features of scale `step`."""
    # Weights of the float file, because the converter may have spoiled those of the integer file.
    weights = np.abs(twin.values(theirs.weights).astype("float64"))
    limits = np.iinfo(graph.dtype(ours.features))
    largest = (
        step * (limits.max - limits.min) * weights.sum(graph.axes_within_a_channel(ours.weights))
    )
    if theirs.bias >= 0:
        largest = largest + np.abs(twin.values(theirs.bias))
    return max(
        step * float(weights.max()) / 127 / LARGEST_FACTOR, float(largest.max()) / LARGEST_SUM
    )


def _is_spoiled(scales: np.ndarray) -> bool:
    """Tell whether a scale of weights is not finite, or is too small to be a normal float32."""
    return not (np.isfinite(scales) & (scales >= np.finfo("float32").tiny)).all()


def _quantize_anew(graph: Graph, twin: Graph, readers: Pairs) -> None:
    """Quantize weights as symmetric int8, and the biases of the operations that share them."""
    ours, theirs = readers[0]
    weights = twin.values(theirs.weights).astype("float64")
    within = graph.axes_within_a_channel(ours.weights)
    scales = np.abs(weights).max(within) / 127
    # A channel with negligible weights gets a usable scale, because its bias depends on it.
    scales = np.maximum(scales, (scales.max() / LARGEST_RATIO) or 1)
    biases = []
    for each, other in readers:
        if each.bias >= 0:
            values = twin.values(other.bias).astype("float64")
            step = float(graph.scales(each.features)[0])
            biases.append((each.bias, values, step))
            scales = np.maximum(scales, np.abs(values) / step / LARGEST_BIAS)
    if len(graph.scales(ours.weights)) == 1:
        scales = scales.max(keepdims=True)
    _store(graph, ours.weights, weights / np.expand_dims(scales, within), scales)
    for tensor, values, step in biases:
        _store(graph, tensor, values / (step * scales), step * scales)


def _store(graph: Graph, tensor: int, steps: np.ndarray, scales: np.ndarray) -> None:
    """Store a constant that is given in units of its new scales."""
    graph.set_values(tensor, clipped(np.rint(steps), graph.dtype(tensor)))
    graph.set_scales(tensor, np.broadcast_to(scales, graph.scales(tensor).shape))
