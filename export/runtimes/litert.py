"""Runs a TFLite file in LiteRT, in a child process."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..children.batches import Outputs, in_batches
from ..children.quantization import dequantize, quantize
from .xnnpack import counted, plural, xnnpack_partitions


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run the artifact on the inputs, and return its outputs and notes for the report."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=artifact, num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner("serving_default")
    read, written = runner.get_input_details(), runner.get_output_details()

    def answer(batch: Outputs) -> Outputs:
        found = runner(**{name: quantized(value, read[name]) for name, value in batch.items()})
        return {
            name: dequantize(value, *written[name]["quantization"]) for name, value in found.items()
        }

    batch = min(int(details["shape_signature"][0]) for details in read.values())
    outputs = in_batches(answer, inputs, batch if batch > 0 else None)
    return outputs, [_partitions(interpreter)]


def _partitions(interpreter: Any) -> str:
    """Return a note on the part of the graph that XNNPACK runs."""
    partitions, outside = xnnpack_partitions(interpreter)
    count = f"{partitions} XNNPACK partition{plural(partitions)}"
    return f"{count}, outside: {counted(outside)}" if outside else f"{count}, all in it"


def quantized(value: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Quantize real values as an input requires."""
    scale, zero_point = details["quantization"]
    return quantize(value, scale, zero_point, details["dtype"])
