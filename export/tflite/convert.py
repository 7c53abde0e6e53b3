"""Conversion to TFLite in every precision, with builtin operations only."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError, refused

from ..children.process import RuntimeFailure
from ..source import saved_model
from ..source.layer_names import as_written, operations_of
from ..source.rounding import IMAGES
from ..source.serving import Serving
from .bias import correct_biases
from .depthwise import float_depthwise
from .graph import Graph, name_as_signature
from .metadata import packed_with_metadata
from .scales import repair_scales, separate_biases, zero_scales
from .targets import lower

# The sets of operations of integer activations.
OPERATIONS = {
    "int8": "TFLITE_BUILTINS_INT8",
    "int16x8": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
}
INTEGER_WEIGHTS = ("dynamic", *OPERATIONS)


def write(precision: str, serving: Serving, path: Path) -> list[str]:
    """Write a file, and return notes about it for the report.

    Args:
        precision: the precision. With `"float16"`, runtimes without float16 arithmetic compute in
            float32. With `"dynamic"`, weights are int8, the runtime quantizes their inputs, and
            everything else is float32. With `"int8"` and `"int16x8"`, weights are int8, and
            activations are int8 or int16, calibrated on the representative set.
        serving: the model.
        path: path of the file.
    """
    graph = twin(serving) if precision == "float32" else convert(serving, precision)
    notes = _correct(serving, graph, precision) if precision in INTEGER_WEIGHTS else []
    lower(graph, serving.options.target)
    path.write_bytes(packed_with_metadata(graph, serving.metadata))
    return notes


def _correct(serving: Serving, graph: Graph, precision: str) -> list[str]:
    """Correct a graph with integer weights by means of the float32 graph, and return notes."""
    float_twin, notes = twin(serving), []
    separate_biases(graph)
    if precision == "dynamic":
        float_depthwise(graph, float_twin)
    else:
        if raised := repair_scales(graph, float_twin):
            notes = [f"{len(raised)} scales next to zero were raised"]
        if zero := zero_scales(graph):
            raise InputError(
                f"The quantized graph has {len(zero)} tensors of scale 0, which abort the runtime. "
                f"The first is {zero[0]}. Calibrate on more varied images."
            )
    if not serving.representative:
        return [*notes, "no bias was corrected: there is no calibration set"]
    samples = next(serving.calibration_samples(IMAGES))
    with refused("LiteRT does not run the float32 graph: ", only=(RuntimeFailure,), told=str):
        correct_biases(graph, float_twin, float32(serving), samples, serving.scratch)
    return notes


def twin(serving: Serving) -> Graph:
    """Return the float32 graph."""
    return Graph(float32(serving).read_bytes())


def float32(serving: Serving) -> Path:
    """Return the path of the float32 file, which is converted only once."""
    kept = serving.scratch / "float32.tflite"
    if not kept.exists():
        kept.write_bytes(convert(serving, "float32").packed())
    return kept


def convert(serving: Serving, precision: str) -> Graph:
    """Convert with builtin operations only."""
    import tensorflow as tf

    source = serving.scratch / "saved_model_batch"
    if not source.exists():
        saved_model.save(serving, source, serving.options.batch_size)
    with warnings.catch_warnings():
        # Calibration uses TensorFlow's own interpreter, which warns that it is deprecated.
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated.*")
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(source), signature_keys=[saved_model.SIGNATURE]
        )
        operations = OPERATIONS.get(precision, "TFLITE_BUILTINS")
        converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, operations)]
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision in OPERATIONS:
            converter.representative_dataset = serving.calibration_samples
        if precision == "int8":
            converter.inference_input_type = tf.as_dtype(serving.options.integer_io)
            converter.inference_output_type = tf.as_dtype(serving.options.integer_io)
        what = "TFLite's converter refuses the model: "
        # The converter's exception class is not public.
        with refused(what, passing=(InputError, OSError), told=_advice):
            if precision == "int8" and serving.options.float_layers:
                content = _with_float_layers(serving, converter)
            else:
                content = converter.convert()
            graph = Graph(content)
    name_as_signature(graph)
    return graph


def _with_float_layers(serving: Serving, converter: Any) -> bytes:
    """Convert to int8 by TensorFlow's quantization debugger, with the float layers in float32.

    Raises:
        InputError: if one of the layers has no operation.
    """
    import tensorflow as tf

    # The operations of the float32 graph have the same names.
    graph = twin(serving)
    names = [graph.name(int(operation.outputs[0])) for _, operation in graph.operations()]
    kept = operations_of(serving.options.float_layers, serving.layer_names(), names)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def _advice(error: Exception) -> str:
    """Return the converter's line that names operations, or its first line, and add advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    told = as_written(next(iter(named or lines), type(error).__name__).rstrip("."))
    return (
        f"{told}. Leave the format or the precision out, or replace the operations that it names."
    )
