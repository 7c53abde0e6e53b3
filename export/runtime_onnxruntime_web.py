"""In a child process: an ONNX file in onnxruntime-web, in node."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .batches import Outputs, in_batches

SCRIPT = Path(__file__).with_name("onnxruntime_web.mjs")


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run it on the inputs, and return its outputs and what there is to note."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["node", str(SCRIPT), artifact, folder]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as node:

            def answer(batch: Outputs) -> Outputs:
                return _answer(node, Path(folder), batch)

            outputs = in_batches(answer, inputs)
            node.communicate()
        return outputs, []


def _answer(node: subprocess.Popen[str], folder: Path, batch: Outputs) -> Outputs:
    """What the script answers to one batch; arrays travel as files, the rest as lines of JSON."""
    if node.stdin is None or node.stdout is None:
        raise ValueError("node has no pipes")
    asked = {name: [value.dtype.name, value.shape] for name, value in batch.items()}
    for index, value in enumerate(batch.values()):
        (folder / f"input{index}").write_bytes(np.ascontiguousarray(value).tobytes())
    print(json.dumps(asked), file=node.stdin, flush=True)
    line = node.stdout.readline()
    if not line:
        raise RuntimeError("node ended")  # and said why on its own
    return {
        name: np.frombuffer((folder / f"output{index}").read_bytes(), dtype).reshape(shape)
        for index, (name, (dtype, shape)) in enumerate(json.loads(line).items())
    }
