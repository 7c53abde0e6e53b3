"""Sums of two outputs of the same convolution in TFLite files, written as one convolution.

Channel attention applies its MLP to each of its pools and adds the results. The last layer of the
MLP is linear, so it can be applied once, to the sum of its inputs. This is done only for float
features: with integers the sum would need a scale that calibration has not measured.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from .editing import add_constant, add_like, replace_operations
from .graph import Graph, Weighted


def one_convolution_of_sums(graph: Graph) -> None:
    """Write each sum of outputs of one convolution as the convolution of the sum of its inputs."""
    # A sum of three outputs takes two passes.
    while _merge(graph):
        pass


def _merge(graph: Graph) -> bool:
    """Merge sums of two outputs, and tell whether there were any."""
    read = Counter(int(tensor) for each in graph.operators for tensor in each.inputs)
    read.update(graph.outputs)
    convolutions = {
        each.output: each
        for each in graph.weighted()
        if each.kind == "CONV_2D" and read[each.output] == 1
    }
    written = {}
    for index, (kind, operation) in enumerate(graph.operations()):
        inputs = [int(tensor) for tensor in operation.inputs]
        terms = [convolutions[tensor] for tensor in inputs if tensor in convolutions]
        if kind == "ADD" and len(terms) == 2 and _same(graph, *terms):
            written[index] = _once(graph, operation, *terms)
    replace_operations(graph, written)
    return bool(written)


def _same(graph: Graph, one: Weighted, other: Weighted) -> bool:
    """Tell whether both are the same linear float convolution, of maps of the same shape."""
    operators = graph.operators
    options = [vars(operators[each.index].builtinOptions) for each in (one, other)]
    return (
        one.weights == other.weights
        and options[0] == options[1]
        and not options[0]["fusedActivationFunction"]
        and graph.shape(one.features) == graph.shape(other.features)
        and graph.free_shape(one.features) == graph.free_shape(other.features)
        and not len(graph.scales(one.features))
        and all(each.bias >= 0 and graph.is_known(each.bias) for each in (one, other))
    )


def _once(graph: Graph, add: Any, one: Weighted, other: Weighted) -> list[Any]:
    """Return the sum of the features, then the convolution with the sum of both biases."""
    convolution = copy.copy(graph.operators[one.index])
    convolution.builtinOptions = copy.copy(convolution.builtinOptions)
    convolution.builtinOptions.fusedActivationFunction = add.builtinOptions.fusedActivationFunction
    bias = graph.constant(one.bias) + graph.constant(other.bias)
    total = add_like(graph, one.features)
    convolution.inputs = [total, one.weights, add_constant(graph, bias)]
    convolution.outputs = list(add.outputs)
    add.inputs, add.outputs = [one.features, other.features], [total]
    add.builtinOptions.fusedActivationFunction = 0
    return [add, convolution]
