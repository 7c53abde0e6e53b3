"""The operations of an ONNX file that only move values. Runs in a child process."""

from __future__ import annotations

from typing import Any

MOVING = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Concat", "Slice")


def main(path: str) -> dict[str, Any]:
    """Return the number of operations that compute, and the kinds of those that move values."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    moving = [kind for kind in kinds if kind in MOVING]
    inside = f"{len(kinds) - len(moving)} of {len(kinds)} operations compute"
    return {"inside": inside, "outside": moving}
