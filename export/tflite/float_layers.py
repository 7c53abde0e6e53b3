"""Int8 TFLite files with some layers in float32, by TensorFlow's quantization debugger."""

from __future__ import annotations

from typing import Any

from ..source.layer_names import operations_of
from ..source.serving import Serving
from .graph import Graph


def with_float_layers(serving: Serving, twin: Graph, converter: Any) -> bytes:
    """Convert, with the operations of `serving.options.float_layers` in float32.

    Args:
        serving: the model.
        twin: its float32 graph, whose operations have the same names.
        converter: a converter that is configured for int8.

    Raises:
        InputError: if one of the layers has no operation.
    """
    import tensorflow as tf

    names = [twin.name(int(operation.outputs[0])) for _, operation in twin.operations()]
    kept = operations_of(serving.options.float_layers, serving.layer_names(), names)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()
