"""The operations of a TFLite file that LiteRT's GPU delegate does not support, by kind.

TensorFlow's own analyzer reported this up to version 2.17. Since 2.18 it calls every graph
compatible, even one with a WHILE or a Flex operation
([tensorflow#77042](https://github.com/tensorflow/tensorflow/issues/77042)). Therefore it is not
used. `benchmarks/gpu_analyzer.py` runs the last version that works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..tflite.graph import Graph

# The kinds that the analyzer of TensorFlow 2.17 accepts. Its conditions on arguments are ignored.
_NAMES = """
ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL CAST CEIL CONCATENATION CONV_2D COS CUMSUM
DENSIFY DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV ELU EMBEDDING_LOOKUP EQUAL EXP FLOOR
FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS
LESS_EQUAL LOG LOGICAL_AND LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
NOT_EQUAL ONE_HOT PACK PAD PADV2 POW PRELU QUANTIZE REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU
RELU6 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN
SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB
SUM TANH TILE TRANSPOSE TRANSPOSE_CONV
"""
KINDS = frozenset(_NAMES.split())


def main(path: str) -> dict[str, Any]:
    """Return the number of operations, and kind and type of those that the GPU does not support."""
    graph = Graph(Path(path).read_bytes())
    count, outside = len(graph.operators), []
    for kind, operation in graph.operations():
        dtype = graph.dtype(int(operation.outputs[0])).name
        if kind not in KINDS or dtype == "int16":
            outside.append(f"{kind} of {dtype}")
    return {"inside": f"{count - len(outside)} of {count} operations, by kind", "outside": outside}
