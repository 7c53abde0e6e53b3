"""TFLite: batch 1, builtin operations only."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError

from . import saved_model
from .child import RuntimeFailure
from .serving import Serving
from .tflite_bias import IMAGES, correct_biases
from .tflite_scales import QuantizedGraph, repair_scales, separate_biases


def write_float32(serving: Serving, path: Path) -> list[str]:
    """Write float32 weights and arithmetic."""
    path.write_bytes(_float32(serving))
    return []


def write_int8(serving: Serving, path: Path) -> list[str]:
    """Write int8 weights, activations, inputs and outputs, calibrated on the representative set."""
    content, repaired = repair_scales(separate_biases(_convert(serving, quantize=True)))
    zero = QuantizedGraph(content).zero_scales()
    if zero:
        raise InputError(
            f"The int8 graph has {len(zero)} tensors of scale 0, which abort the runtime, the "
            f"first of them {zero[0]}; calibrate on more varied images."
        )
    samples = [array[:IMAGES] for array in serving.representative or []]
    try:
        corrected = correct_biases(content, _float32(serving), samples)
    except RuntimeFailure as error:
        raise InputError(f"LiteRT does not run the int8 graph: {error}") from error
    path.write_bytes(corrected)
    notes = []
    if repaired:
        notes.append(f"{len(repaired)} scales next to zero were raised to what the runtime takes")
    if corrected == content:
        notes.append("no bias was corrected")
    return notes


def _float32(serving: Serving) -> bytes:
    """The float32 file, converted once for all that need it."""
    kept = serving.scratch / "float32.tflite"
    if not kept.exists():
        kept.write_bytes(_convert(serving, quantize=False))
    return kept.read_bytes()


def _convert(serving: Serving, *, quantize: bool) -> bytes:
    import tensorflow as tf

    source = serving.scratch / "saved_model_batch_1"
    if not source.exists():
        saved_model.write(serving, source, batch_size=1)
    with warnings.catch_warnings():
        # Calibration runs in TensorFlow's own interpreter, which warns that it is deprecated.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated.*")
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(source), signature_keys=[saved_model.SIGNATURE]
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize:
            _set_int8(converter, serving, tf)
        try:
            return converter.convert()
        except (RuntimeError, ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"The model has operations that TFLite's builtin set has not: {_first_line(error)}"
            ) from error


def _set_int8(converter: Any, serving: Serving, tf: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = serving.calibration_samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
