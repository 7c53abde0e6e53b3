"""In a child process: a TFLite or ONNX file in OpenVINO, on the processor."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from .batches import Outputs, in_batches

# Else processors that have it compute in bfloat16.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
# Integer files then compute in float32, and round as the file says.
WITHOUT_INTEGERS = {"LP_TRANSFORMS_MODE": "NO"}


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run it on the inputs, and return its outputs and what there is to note."""
    import openvino

    core = openvino.Core()
    source = core.read_model(artifact)
    settings, notes = SETTINGS, []
    if artifact.endswith(".tflite") and _rounds(source) and saturates():
        settings = SETTINGS | WITHOUT_INTEGERS
        notes = ["compared in float32: integer sums saturate on this processor, which has no VNNI"]
    model = core.compile_model(source, "CPU", settings)
    answer = _of_tflite(model, artifact) if artifact.endswith(".tflite") else _of_onnx(model)
    sizes = [port.partial_shape[0] for port in model.inputs]
    fixed = min((size.get_length() for size in sizes if size.is_static), default=None)
    return in_batches(answer, inputs, fixed), notes


def _rounds(model: Any) -> bool:
    """Whether the file has integer activations."""
    return any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


def saturates() -> bool:
    """Whether this processor adds products of 8 bits in 16 bits: x86-64 without VNNI.

    Weights of ONNX files have 7 bits for its sake; those of TFLite files have 8.
    """
    flags = Path("/proc/cpuinfo")
    x86 = platform.machine() in ("x86_64", "AMD64")
    return x86 and flags.exists() and "vnni" not in flags.read_text()


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
    from .tflite_graph import QuantizedGraph

    graph = QuantizedGraph(Path(artifact).read_bytes())
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
