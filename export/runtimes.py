"""The runtimes that artifacts are verified in, each run in a child process of its own."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import load_arrays, save_arrays
from .child import RuntimeFailure, run_in_child

# Where the batch is free, several sizes are run: these, and then the last over and over.
BATCH_SIZES = (1, 3, 32)

# Between the signature that takes JPEG bytes and the one that takes what they decode to.
LARGEST_JPEG_ERROR = 1e-4

Outputs = dict[str, np.ndarray]
Notes = list[str]


def run_artifact(runtime: str, artifact: Path, inputs: Path) -> tuple[Outputs, Notes]:
    """Run an artifact on inputs that `save_arrays` stored by name, in a child process.

    Args:
        runtime: a key of `RUNTIMES`.
        artifact: the file or directory.
        inputs: path of one array for each input.

    Returns:
        The outputs by name, and what the runtime reports about the artifact.

    Raises:
        RuntimeFailure: if the runtime refuses the artifact or dies of it.
    """
    with tempfile.TemporaryDirectory(dir=inputs.parent) as folder:
        results = Path(folder) / "outputs.npz"
        try:
            run_in_child("runtimes", runtime, artifact, inputs, results)
        except RuntimeFailure as error:
            raise RuntimeFailure(f"{artifact.name} in {runtime}: {error}") from error
        outputs = load_arrays(results)
        return outputs, json.loads(str(outputs.pop("__notes__")))


def _tensorflow(artifact: str, inputs: Outputs) -> tuple[Outputs, Notes]:
    import tensorflow as tf

    loaded = tf.saved_model.load(artifact)
    serve = loaded.signatures["serving_default"]

    def run(batch: Outputs) -> Outputs:
        found = serve(**{name: tf.constant(value) for name, value in batch.items()})
        return {name: value.numpy() for name, value in found.items()}

    notes = [_check_jpeg(loaded, inputs)] if "serving_jpeg" in loaded.signatures else []
    return _in_batches(run, inputs), notes


def _check_jpeg(loaded: Any, inputs: Outputs) -> str:
    """Compare the signature that takes JPEG bytes with the other on what they decode to."""
    import tensorflow as tf

    (name, values), *_ = inputs.items()
    pixels = np.clip(values[: BATCH_SIZES[-1]], 0, 255).astype("uint8")
    encoded = [tf.io.encode_jpeg(image, quality=95) for image in pixels]
    decoded = np.stack([tf.io.decode_jpeg(each, channels=3).numpy() for each in encoded])
    found = loaded.signatures["serving_jpeg"](jpeg=tf.stack(encoded))
    as_taken = tf.constant(decoded.astype(values.dtype))
    expected = loaded.signatures["serving_default"](**{name: as_taken})
    for output, value in expected.items():
        largest = float(np.abs(found[output].numpy() - value.numpy()).max())
        if largest > LARGEST_JPEG_ERROR * max(1.0, float(np.abs(value.numpy()).max())):
            raise ValueError(f"serving_jpeg differs from serving_default by {largest:.2g}")
    return f"serving_jpeg verified on {len(pixels)} files"


def _onnxruntime(artifact: str, inputs: Outputs) -> tuple[Outputs, Notes]:
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(batch: Outputs) -> Outputs:
        return dict(zip(names, session.run(names, batch), strict=True))

    return _in_batches(run, inputs), []


def _litert(artifact: str, inputs: Outputs) -> tuple[Outputs, Notes]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=artifact, num_threads=os.cpu_count())
    runner = interpreter.get_signature_runner("serving_default")
    read, written = runner.get_input_details(), runner.get_output_details()

    def run(batch: Outputs) -> Outputs:
        found = runner(**{name: _quantize(value, read[name]) for name, value in batch.items()})
        return {name: _dequantize(value, written[name]) for name, value in found.items()}

    batch = min(int(details["shape_signature"][0]) for details in read.values())
    outputs = _in_batches(run, inputs, batch if batch > 0 else None)
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


def _in_batches(
    run: Callable[[Outputs], Outputs], inputs: Outputs, batch: int | None = None
) -> Outputs:
    """Run all inputs, `batch` at a time, or in batches of several sizes for `None`."""
    count = len(next(iter(inputs.values())))
    sizes = chain(BATCH_SIZES, repeat(BATCH_SIZES[-1])) if batch is None else repeat(batch)
    found, done = [], 0
    while done < count:
        # A fixed batch that is not filled is filled up with the first inputs.
        index = np.arange(done, done + next(sizes)) % count
        index = index[: count - done] if batch is None else index
        part = run({name: value[index] for name, value in inputs.items()})
        found.append({name: value[: count - done] for name, value in part.items()})
        done += len(index)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


RUNTIMES: dict[str, Callable[[str, Outputs], tuple[Outputs, Notes]]] = {
    "litert": _litert,
    "onnxruntime": _onnxruntime,
    "tensorflow": _tensorflow,
}


def main(runtime: str, artifact: str, inputs: str, results: str) -> None:
    """In the child process: run the artifact and store what it answers."""
    outputs, notes = RUNTIMES[runtime](artifact, load_arrays(inputs))
    save_arrays(results, {"__notes__": np.array(json.dumps(notes)), **outputs})
