"""Depthwise weights of a dynamic range TFLite file, back in float32.

XNNPACK has no depthwise convolution that quantizes its inputs as they come: each would leave the
delegate and cut the graph in two. They hold few of a network's weights: 2 % of MobileNetV2's.
"""

from __future__ import annotations

from .graph import QuantizedGraph, pack, pairs


def float_depthwise(content: bytes, float_content: bytes) -> bytes:
    """Return the dynamic range file with the depthwise weights of the float32 file.

    Args:
        content: a dynamic range TFLite file.
        float_content: the float32 file of the same network.
    """
    from ai_edge_litert import schema_py_generated as schema

    graph, reference = QuantizedGraph(content), QuantizedGraph(float_content)
    model = schema.ModelT.InitFromPackedBuf(content)
    for operation, counterpart in pairs(graph, reference):
        if operation.kind == "DEPTHWISE_CONV_2D" and len(graph.scales(operation.weights)):
            tensor = model.subgraphs[0].tensors[operation.weights]
            tensor.type = schema.TensorType.FLOAT32
            tensor.quantization = None
            values = reference.values(counterpart.weights)
            model.buffers[tensor.buffer].data = values.reshape(-1).view("uint8")
    return pack(model)
