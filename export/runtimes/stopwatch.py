"""Times files on one input, in turn, in a child process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from ..children.arrays import load_arrays
from .litert import quantized

# Number of first turns that do not count.
WARM = 3


def main(specification: str, inputs: str) -> dict[str, list[float]]:
    """Return the seconds of each run of each file, by the index of the file.

    Args:
        specification: JSON with `threads`, `runs` and `files`; a file is a path and its runtime.
        inputs: path of the stored inputs, with one array of one row for each input.
    """
    asked = json.loads(specification)
    values = load_arrays(inputs)
    steps = [STEPS[runtime](path, values, asked["threads"]) for path, runtime in asked["files"]]
    seconds: list[list[float]] = [[] for _ in steps]
    for turn in range(WARM + asked["runs"]):
        for step, found in zip(steps, seconds, strict=True):
            start = time.perf_counter()
            step()
            if turn >= WARM:
                found.append(time.perf_counter() - start)
    return {str(index): found for index, found in enumerate(seconds)}


def _in_litert(path: str, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    details = interpreter.get_signature_runner("serving_default").get_input_details()
    for name, entry in details.items():
        interpreter.resize_tensor_input(entry["index"], inputs[name].shape)
    interpreter.allocate_tensors()
    for name, entry in details.items():
        interpreter.set_tensor(entry["index"], quantized(inputs[name], entry))
    return interpreter.invoke


def _in_onnxruntime(path: str, inputs: dict[str, Any], threads: int) -> Callable[[], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Spinning threads of one file would slow down the next file.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


STEPS = {"litert": _in_litert, "onnxruntime": _in_onnxruntime}
