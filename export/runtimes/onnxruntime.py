"""Runs an ONNX file in onnxruntime, in a child process."""

from __future__ import annotations

from ..children.batches import Outputs, in_batches


def run(artifact: str, inputs: Outputs) -> tuple[Outputs, list[str]]:
    """Run the artifact on the inputs, and return its outputs and notes for the report."""
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def answer(batch: Outputs) -> Outputs:
        return dict(zip(names, session.run(names, batch), strict=True))

    return in_batches(answer, inputs), []
