"""ONNX in float16 and int8, made from the float32 file by onnxruntime's own tools."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError, refused
from keras_cbam.text import error_reason

from ..source.layer_names import operations_of
from ..source.serving import Serving
from .bias import correct_biases
from .convert import finished, float32, silent

# Calibration keeps the values of every tensor for a batch in memory.
BATCH_SIZE = 8
# Largest int8 weight with onnxruntime's `reduce_range`. Processors without VNNI add two products
# with uint8 in 16 bits: 2 x 255 x 127 does not fit, 2 x 255 x 64 does.
LARGEST_WEIGHT = 64

# Advice for models that onnxruntime cannot quantize.
NOT_INT8 = "Leave the precision int8 out of the format onnx."


def write_float16(serving: Serving, path: Path) -> list[str]:
    """Write float16 weights and arithmetic. Inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load(float32(serving)), keep_io_types=True)
    onnx.save(half, path)
    return finished(serving, path)


def write_int8(serving: Serving, path: Path) -> list[str]:
    """Write QuantizeLinear and DequantizeLinear around int8 weights and uint8 activations.

    The integer dot products of x86-64 multiply unsigned activations with signed weights.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = serving.scratch / "prepared.onnx"
    refusal = refused(
        "onnxruntime's quantizer refuses the model: ",
        passing=(InputError, OSError),
        told=lambda error: f"{error_reason(error)}. {NOT_INT8}",
    )
    # Otherwise onnxruntime logs advice to preprocess the model, although this was done.
    with refusal, silent(logging.WARNING):
        quant_pre_process(str(float32(serving)), str(prepared), skip_symbolic_shape=True)
        kept = _float_nodes(serving, prepared)
        correct_biases(prepared, serving.calibration_samples(BATCH_SIZE), LARGEST_WEIGHT, kept)
        quantization.quantize_static(
            str(prepared),
            str(path),
            _Samples(serving),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
        )
    return finished(serving, path)


class _Samples:
    """The calibration set in the form of onnxruntime's `CalibrationDataReader`."""

    def __init__(self, serving: Serving):
        self.samples = serving.calibration_samples(BATCH_SIZE)

    def get_next(self) -> Any:
        return next(self.samples, None)


def _float_nodes(serving: Serving, path: Path) -> list[str]:
    """Return the names of the nodes of the layers that stay in float32."""
    import onnx

    # A convolution with a folded batch normalization has the name of the normalization. Its weights
    # keep their own names, so they are matched too.
    graph = onnx.load(path).graph
    constants = {each.name for each in graph.initializer}
    nodes = {
        ";".join((node.name, *(name for name in node.input if name in constants))): node.name
        for node in graph.node
    }
    found = operations_of(serving.options.float_layers, serving.layer_names(), nodes)
    return [nodes[operation] for operation in found]
