"""In a child process: a TFLite or ONNX file in OpenVINO, on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .batches import Outputs, in_batches

# Else processors that have it compute in bfloat16.
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run it on the inputs, and return its outputs and what there is to note."""
    import openvino

    model = openvino.Core().compile_model(artifact, "CPU", SETTINGS)
    read, written = ({_name(port): port for port in side} for side in (model.inputs, model.outputs))
    quantize, dequantize = _quantization(artifact)

    def answer(batch: Outputs) -> Outputs:
        found = model({read[name]: quantize(value, name) for name, value in batch.items()})
        return {name: dequantize(found[port], name) for name, port in written.items()}

    sizes = [port.partial_shape[0] for port in model.inputs]
    fixed = min((size.get_length() for size in sizes if size.is_static), default=None)
    return in_batches(answer, inputs, fixed), []


def _name(port: Any) -> str:
    """The shortest name, since the converters' longer ones may be there too."""
    return min(port.names, key=len)


def _quantization(artifact: str) -> Any:
    """How real values become what a TFLite file takes, by tensor name, and back."""
    if not artifact.endswith(".tflite"):
        return (lambda value, name: value), (lambda value, name: value)
    from .tflite_graph import QuantizedGraph

    graph = QuantizedGraph(Path(artifact).read_bytes())
    tensors = graph.signature()
    return (
        lambda value, name: graph.quantize(value, tensors[name]),
        lambda value, name: graph.dequantize(value, tensors[name]).astype("float32"),
    )
