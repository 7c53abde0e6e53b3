"""The part of a TFLite graph that XNNPACK runs. Used in child processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np


def main(path: str) -> dict[str, Any]:
    """Return the number of partitions, and kind and type of each operation outside."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    partitions, outside = xnnpack_partitions(interpreter)
    return {"inside": f"{partitions} partition{plural(partitions)}", "outside": outside}


def xnnpack_partitions(interpreter: Any) -> tuple[int, list[str]]:
    """Return the number of partitions, and kind and type of each operation that runs outside them.

    Each partition appears in the graph as one DELEGATE operation.
    """
    operations = interpreter._get_ops_details()
    delegated = [o for o in operations if o["op_name"] == "DELEGATE"]
    types = {d["index"]: np.dtype(d["dtype"]).name for d in interpreter.get_tensor_details()}
    # A tensor of a partition has two makers: its operation, and the partition that replaces it. The
    # partitions come last here, so they win.
    maker = {t: o for o in [*operations, *delegated] for t in o["outputs"]}
    pending = [details["index"] for details in interpreter.get_output_details()]
    running, outside = set(), []
    while pending:
        source = maker.get(pending.pop())
        if source is not None and source["index"] not in running:
            running.add(source["index"])
            pending.extend(source["inputs"])
            if source["op_name"] != "DELEGATE":
                outside.append(f"{source['op_name']} of {types[source['outputs'][0]]}")
    return len(delegated), outside


def plural(count: int) -> str:
    """Return the ending of a noun after a number."""
    return "" if count == 1 else "s"


def counted(kinds: Iterable[str]) -> str:
    """Return the kinds of operations with their counts, as one line."""
    return ", ".join(
        kind if times == 1 else f"{times} {kind}" for kind, times in sorted(Counter(kinds).items())
    )
