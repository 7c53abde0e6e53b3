"""Runs a TFLite or ONNX file in OpenVINO on the CPU, in a child process."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from ..children.batches import Outputs, in_batches

# Without this, processors that support bfloat16 compute in it.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
# With this, OpenVINO computes in float32, and rounds as the file specifies.
WITHOUT_INTEGERS = {"LP_TRANSFORMS_MODE": "NO"}


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run the artifact on the inputs, and return its outputs and notes for the report."""
    import openvino

    core = openvino.Core()
    source = core.read_model(artifact)
    settings, notes = SETTINGS, []
    if artifact.endswith(".tflite") and _multiplies_integers(source) and saturates():
        settings = SETTINGS | WITHOUT_INTEGERS
        notes = ["OpenVINO ran with LP_TRANSFORMS_MODE=NO, which it needs without VNNI"]
    model = core.compile_model(source, "CPU", settings)
    answer = _of_tflite(model, artifact) if artifact.endswith(".tflite") else _of_onnx(model)
    sizes = [port.partial_shape[0] for port in model.inputs]
    fixed = min((size.get_length() for size in sizes if size.is_static), default=None)
    return in_batches(answer, inputs, fixed), notes


def _multiplies_integers(model: Any) -> bool:
    """Tell whether the file has 8-bit activations, which OpenVINO multiplies as integers."""
    return any(
        node.get_type_name() == "FakeQuantize" and node.get_attributes()["levels"] <= 256
        for node in model.get_ops()
    )


def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether sums of 8-bit products saturate, as on x86-64 processors without VNNI.

    These add two products in 16 bits. The weights of ONNX files are small enough for that, but
    those of TFLite files are not. Processors are recognized only on Linux.
    """
    return platform.machine() == "x86_64" and cpuinfo.exists() and "vnni" not in cpuinfo.read_text()


def _of_onnx(model: Any) -> Any:
    def answer(batch: Outputs) -> Outputs:
        found = model(batch)
        return {_name(port): found[port] for port in model.outputs}

    return answer


def _name(port: Any) -> str:
    """Return the name of an output in the file. A float16 output also has the name of its cast."""
    return port.node.get_friendly_name().removesuffix("/sink_port_0")


def _of_tflite(model: Any, artifact: str) -> Any:
    """Return a function of named real values. OpenVINO itself takes quantized tensors by name."""
    from ..tflite.graph import Graph

    graph = Graph(Path(artifact).read_bytes())
    read, written = graph.signature()

    def answer(batch: Outputs) -> Outputs:
        found = model(
            {graph.name(read[name]): graph.quantize(v, read[name]) for name, v in batch.items()}
        )
        return {
            name: graph.dequantize(found[graph.name(tensor)], tensor).astype("float32")
            for name, tensor in written.items()
        }

    return answer
