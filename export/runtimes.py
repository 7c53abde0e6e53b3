"""The runtimes that artifacts are verified in, each in a child process of its own.

A file that a runtime cannot take may abort the whole process, so nothing is loaded here in the
caller's. The child runs this file by its path, without the package, so that LiteRT and ONNX Runtime
are alone in it, with no TensorFlow beside them: nothing here may be imported relatively.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

BATCH_SIZE = 32

Outputs = dict[str, np.ndarray]
Notes = list[str]


class RuntimeFailure(RuntimeError):
    """The runtime refused the artifact, or died of it."""


def run_in_child(runtime: str, artifact: Path, inputs: Path) -> tuple[Outputs, Notes]:
    """Run an artifact on inputs stored as `.npz`, by input name, in a child process.

    Args:
        runtime: a key of `RUNTIMES`.
        artifact: the file or directory.
        inputs: path of an `.npz` with one array for each input.

    Returns:
        The outputs by name, and what the runtime reports about the artifact.

    Raises:
        RuntimeFailure: if the child fails, with the last line it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "outputs.npz"
        start = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
        # -P: without it the folder of this file would come first and hide other packages.
        command = [sys.executable, "-P", "-c", start, __file__]
        process = subprocess.run(
            [*command, runtime, str(artifact), str(inputs), str(results)],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=False,
        )
        if process.returncode != 0:
            lines = [line for line in process.stderr.splitlines() if line.strip()]
            how = f"signal {-process.returncode}" if process.returncode < 0 else "an error"
            raise RuntimeFailure(
                f"{runtime} ended with {how} on {artifact.name}: {lines[-1] if lines else ''}"
            )
        with np.load(results) as file:
            outputs = {name: file[name] for name in file.files if name != "__notes__"}
            return outputs, json.loads(str(file["__notes__"]))


def _tensorflow(artifact: str, inputs: Outputs) -> tuple[Outputs, Notes]:
    import tensorflow as tf

    loaded = tf.saved_model.load(artifact)
    serve = loaded.signatures["serving_default"]

    def run(batch: Outputs) -> Outputs:
        found = serve(**{name: tf.constant(value) for name, value in batch.items()})
        return {name: value.numpy() for name, value in found.items()}

    return _in_batches(run, inputs, BATCH_SIZE), []


def _onnxruntime(artifact: str, inputs: Outputs) -> tuple[Outputs, Notes]:
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(batch: Outputs) -> Outputs:
        return dict(zip(names, session.run(names, batch), strict=True))

    return _in_batches(run, inputs, BATCH_SIZE), []


def _litert(artifact: str, inputs: Outputs) -> tuple[Outputs, Notes]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=artifact, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    read, written = runner.get_input_details(), runner.get_output_details()

    def run(batch: Outputs) -> Outputs:
        found = runner(**{name: _quantize(value, read[name]) for name, value in batch.items()})
        return {name: _dequantize(value, written[name]) for name, value in found.items()}

    outputs = _in_batches(run, inputs, 1)
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
    return f"{count}, outside: {', '.join(sorted(outside))}" if outside else f"{count}, all in it"


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


def _in_batches(run: Callable[[Outputs], Outputs], inputs: Outputs, size: int) -> Outputs:
    count = len(next(iter(inputs.values())))
    found = [
        run({name: value[start : start + size] for name, value in inputs.items()})
        for start in range(0, count, size)
    ]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


RUNTIMES: dict[str, Callable[[str, Outputs], tuple[Outputs, Notes]]] = {
    "litert": _litert,
    "onnxruntime": _onnxruntime,
    "tensorflow": _tensorflow,
}


def _main(runtime: str, artifact: str, inputs: str, results: str) -> None:
    with np.load(inputs) as file:
        arrays = {name: file[name] for name in file.files}
    outputs, notes = RUNTIMES[runtime](artifact, arrays)
    written: dict[str, Any] = {"__notes__": json.dumps(notes), **outputs}
    np.savez(results, **written)


if __name__ == "__main__":
    _main(*sys.argv[2:])
