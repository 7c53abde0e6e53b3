"""Runs an ONNX file in onnxruntime-web on node, in a child process."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..children.batches import Outputs, in_batches

SCRIPT = Path(__file__).with_name("onnxruntime_web.mjs")


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run the artifact on the inputs, and return its outputs and notes for the report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = ["node", str(SCRIPT), artifact, str(folder)]
        with (
            (folder / "errors").open("w") as errors,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as node,
        ):
            try:
                outputs = in_batches(lambda batch: _answer(node, folder, batch), inputs)
            except (EOFError, BrokenPipeError) as error:
                told = re.findall(r"^\w*Error: .*", (folder / "errors").read_text(), re.MULTILINE)
                raise RuntimeError(f"node ended: {'; '.join(told)}") from error
            node.communicate()
        return outputs, []


def _answer(node: Any, folder: Path, batch: Outputs) -> Outputs:
    """Let the script run one batch. Arrays are passed as files, the rest as lines of JSON."""
    asked = [[name, value.dtype.name, value.shape] for name, value in batch.items()]
    for index, value in enumerate(batch.values()):
        (folder / f"input{index}").write_bytes(np.ascontiguousarray(value).tobytes())
    print(json.dumps(asked), file=node.stdin, flush=True)
    line = node.stdout.readline()
    if not line:
        raise EOFError
    return {
        name: np.frombuffer((folder / f"output{index}").read_bytes(), dtype).reshape(shape)
        for index, (name, dtype, shape) in enumerate(json.loads(line))
    }
