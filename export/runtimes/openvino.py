"""In a child process: a TFLite or ONNX file in OpenVINO, on the processor."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from ..children.batches import Outputs, in_batches

# Else processors that have it compute in bfloat16.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
# It then computes in float32, and rounds as the file says.
WITHOUT_INTEGERS = {"LP_TRANSFORMS_MODE": "NO"}


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run it on the inputs, and return its outputs and what there is to note."""
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
    """Whether the file has activations of 8 bits, which OpenVINO multiplies as integers."""
    return any(
        node.get_type_name() == "FakeQuantize" and node.get_attributes()["levels"] <= 256
        for node in model.get_ops()
    )


def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether sums of 8-bit products saturate: on x86-64 without VNNI, as far as Linux tells.

    Two products are added in 16 bits there. Weights of ONNX files are small enough for that, those
    of TFLite files are not.
    """
    return platform.machine() == "x86_64" and cpuinfo.exists() and "vnni" not in cpuinfo.read_text()


def _of_onnx(model: Any) -> Any:
    def answer(batch: Outputs) -> Outputs:
        found = model(batch)
        return {_name(port): found[port] for port in model.outputs}

    return answer


def _name(port: Any) -> str:
    """What the file calls an output; in float16 it also has the name of the cast before it."""
    return port.node.get_friendly_name().removesuffix("/sink_port_0")


def _of_tflite(model: Any, artifact: str) -> Any:
    """OpenVINO knows a file's tensors, in their own units, and not its signature."""
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
