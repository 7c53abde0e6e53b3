"""Lowering: the operations that each target runs best, for the same function.

Artifacts are compared with Keras as they are, lowered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .onnx_lowering import Shapes, lower_for_cpu
from .tflite_columns import columns_as_channels
from .tflite_means import channel_means_as_convolutions
from .tflite_sums import one_convolution_of_sums


class Target(NamedTuple):
    """What is done, in turn, to the files that will run there.

    Attributes:
        tflite: functions of the bytes of a TFLite file of any precision.
        onnx: functions of a float32 ONNX model and the shapes of its tensors.
    """

    tflite: tuple[Callable[[bytes], bytes], ...] = ()
    onnx: tuple[Callable[[Any, Shapes], Any], ...] = ()

    def formats(self) -> list[str]:
        """The formats that are written for this target otherwise than the converter writes them."""
        return [name for name, lowerings in self._asdict().items() if lowerings]


TARGETS: dict[str, Target] = {
    "cpu": Target(tflite=(one_convolution_of_sums, columns_as_channels), onnx=(lower_for_cpu,)),
    "npu": Target(tflite=(channel_means_as_convolutions,)),
    # As the converters write it.
    "generic": Target(),
}


def lower(content: bytes, target: str) -> bytes:
    """The TFLite file in the operations of the target."""
    for lowering in TARGETS[target].tflite:
        content = lowering(content)
    return content
