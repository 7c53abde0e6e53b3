"""Float32 depthwise weights in dynamic range TFLite files.

XNNPACK has no depthwise convolution with int8 weights and float32 inputs. Each one would leave the
delegate and split the graph. Depthwise convolutions hold few of a network's weights: 2 % of
MobileNetV2's.
"""

from __future__ import annotations

from .graph import Graph, pairs


def float_depthwise(graph: Graph, twin: Graph) -> None:
    """Replace the depthwise weights of a dynamic range graph by those of its float32 twin."""
    from ai_edge_litert import schema_py_generated as schema

    for ours, theirs in pairs(graph, twin):
        if ours.kind == "DEPTHWISE_CONV_2D" and len(graph.scales(ours.weights)):
            tensor = graph.tensors[ours.weights]
            tensor.type = schema.TensorType.FLOAT32
            tensor.quantization = None
            graph.set_values(ours.weights, twin.values(theirs.weights))
