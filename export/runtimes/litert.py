"""In a child process: a TFLite file in LiteRT."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..children.batches import Outputs, in_batches
from .xnnpack import counted, xnnpack_partitions


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run it on the inputs, and return its outputs and what there is to note."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=artifact, num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner("serving_default")
    read, written = runner.get_input_details(), runner.get_output_details()

    def answer(batch: Outputs) -> Outputs:
        found = runner(**{name: _quantize(value, read[name]) for name, value in batch.items()})
        return {name: _dequantize(value, written[name]) for name, value in found.items()}

    batch = min(int(details["shape_signature"][0]) for details in read.values())
    outputs = in_batches(answer, inputs, batch if batch > 0 else None)
    return outputs, [_partitions(interpreter)]


def _partitions(interpreter: Any) -> str:
    """How much of the graph XNNPACK runs, in a line."""
    partitions, outside = xnnpack_partitions(interpreter)
    count = f"{partitions} XNNPACK partition{'' if partitions == 1 else 's'}"
    return f"{count}, outside: {counted(outside)}" if outside else f"{count}, all in it"


def _quantize(value: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero_point = details["quantization"]
    if not scale:
        return value
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(value / scale) + zero_point, limits.min, limits.max).astype(
        details["dtype"]
    )


def _dequantize(value: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero_point = details["quantization"]
    return (value.astype("float32") - zero_point) * np.float32(scale) if scale else value
