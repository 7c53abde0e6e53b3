"""Layers that stay in float32 in an int8 TFLite file, by TensorFlow's quantization debugger."""

from __future__ import annotations

from typing import Any

from ..source.layer_names import operations_of
from ..source.serving import Serving
from .graph import Graph


def with_float_layers(serving: Serving, twin: Graph, converter: Any) -> bytes:
    """Convert with the operations of `serving.options.float_layers` in float32.

    Args:
        serving: the model.
        twin: its float32 graph, whose operations are named alike.
        converter: set up for int8.

    Raises:
        InputError: if no operation is of one of the layers.
    """
    import tensorflow as tf

    names = [twin.name(int(operation.outputs[0])) for _, operation in twin.operations()]
    kept = operations_of(serving.options.float_layers, serving.layer_names(), names)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()
