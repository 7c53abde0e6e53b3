"""What the GPU delegate of LiteRT has no kernel for, by the kinds of operations.

TensorFlow's own analyzer told this up to 2.17. Since 2.18 it calls every graph compatible
([tensorflow#77042](https://github.com/tensorflow/tensorflow/issues/77042)), a WHILE or a Flex
operation too, and so is not asked. `benchmarks/gpu_analyzer.py` asks the last one that tells.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..tflite.graph import Graph

# The kinds that the analyzer of TensorFlow 2.17 takes, whatever it asks of their arguments.
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


def main(path: str, answer: str) -> None:
    """Write what `gpu_operations` returns of a file as JSON."""
    Path(answer).write_text(json.dumps(gpu_operations(Path(path).read_bytes())))


def gpu_operations(content: bytes) -> tuple[int, list[str]]:
    """How many operations a TFLite file has, and the kind and type of each that the GPU lacks."""
    graph = Graph(content)
    count, found = 0, []
    for kind, operation in graph.operations():
        count += 1
        dtype = graph.dtype(int(operation.outputs[0])).name
        if kind not in KINDS or dtype == "int16":
            found.append(f"{kind} of {dtype}")
    return count, found
