"""Lowering: the operations that each target runs best, for the same function.

Artifacts are compared with Keras as they are, lowered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .onnx_lowering import Shapes, lower_for_cpu
from .tflite_lowering import channel_means_as_convolutions


class Target(NamedTuple):
    """What is done, in turn, to the files that will run there.

    Attributes:
        tflite: functions of the bytes of a TFLite file of any precision.
        onnx: functions of a float32 ONNX model and the shapes of its tensors.
    """

    tflite: tuple[Callable[[bytes], bytes], ...] = ()
    onnx: tuple[Callable[[Any, Shapes], Any], ...] = ()


TARGETS: dict[str, Target] = {
    "cpu": Target(onnx=(lower_for_cpu,)),
    "npu": Target(tflite=(channel_means_as_convolutions,)),
}


def lower(content: bytes, target: str) -> bytes:
    """The TFLite file in the operations of the target."""
    for lowering in TARGETS[target].tflite:
        content = lowering(content)
    return content
