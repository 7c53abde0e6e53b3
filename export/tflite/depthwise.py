"""Depthwise weights of a dynamic range TFLite file, back in float32.

XNNPACK has no depthwise convolution that quantizes its inputs as they come: each would leave the
delegate and cut the graph in two. They hold few of a network's weights: 2 % of MobileNetV2's.
"""

from __future__ import annotations

from .graph import Graph, pairs


def float_depthwise(graph: Graph, twin: Graph) -> None:
    """Give a dynamic range graph the depthwise weights of its float32 twin."""
    from ai_edge_litert import schema_py_generated as schema

    for ours, theirs in pairs(graph, twin):
        if ours.kind == "DEPTHWISE_CONV_2D" and len(graph.scales(ours.weights)):
            tensor = graph.tensors[ours.weights]
            tensor.type = schema.TensorType.FLOAT32
            tensor.quantization = None
            graph.set_values(ours.weights, twin.values(theirs.weights))
