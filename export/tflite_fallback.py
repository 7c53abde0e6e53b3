"""Layers that stay in float32 in an int8 TFLite file, by TensorFlow's quantization debugger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError

from .operations import belongs
from .tflite_graph import QuantizedGraph


def with_float_layers(layers: Sequence[str], float_file: Path, converter: Any) -> bytes:
    """Convert with the operations of some layers in float32.

    Args:
        layers: the layers' names.
        float_file: the float32 file of the same network, whose operations are named alike.
        converter: set up for int8.

    Raises:
        InputError: if no operation is of one of the layers.
    """
    import tensorflow as tf

    graph = QuantizedGraph(float_file.read_bytes())
    operations = [graph.name(int(op.Outputs(0))) for _, op in graph.operations()]
    kept = []
    for layer in layers:
        found = [name for name in operations if belongs(name, layer)]
        if not found:
            raise InputError(
                f"Expected float_layers of layers that compute something. Received: {layer}"
            )
        kept += found
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()
