"""The operations of an ONNX file that only move values. Runs in a child process."""

from __future__ import annotations

import json
from pathlib import Path

MOVING = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Concat", "Slice")


def main(path: str, answer: str) -> None:
    """Write the number of operations, and the kinds of those that only move values, as JSON."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    moving = [kind for kind in kinds if kind in MOVING]
    Path(answer).write_text(json.dumps((len(kinds), moving)))
