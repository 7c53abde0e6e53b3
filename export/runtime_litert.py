"""In a child process: a TFLite file in LiteRT."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np

from .batches import Outputs, in_batches


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
    """How much of the graph XNNPACK runs: a delegate operation stands for each partition."""
    operations = interpreter._get_ops_details()
    partitions = [o for o in operations if o["op_name"] == "DELEGATE"]
    # Of a tensor's two makers, the operation and the partition that took it over, the later runs.
    maker = {t: o for o in [*operations, *partitions] for t in o["outputs"]}
    pending = [details["index"] for details in interpreter.get_output_details()]
    running, outside = set(), []
    while pending:
        source = maker.get(pending.pop())
        if source is not None and source["index"] not in running:
            running.add(source["index"])
            pending.extend(source["inputs"])
            if source["op_name"] != "DELEGATE":
                outside.append(source["op_name"])
    count = f"{len(partitions)} XNNPACK partition{'' if len(partitions) == 1 else 's'}"
    if not outside:
        return f"{count}, all in it"
    kinds = (
        kind if times == 1 else f"{times} {kind}"
        for kind, times in sorted(Counter(outside).items())
    )
    return f"{count}, outside: {', '.join(kinds)}"


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
