"""Conversion to TFLite in every precision, with builtin operations only."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError

from ..children.process import RuntimeFailure
from ..source import saved_model
from ..source.layer_names import as_written
from ..source.rounding import IMAGES
from ..source.serving import Serving
from .bias import correct_biases
from .depthwise import float_depthwise
from .float_layers import with_float_layers
from .graph import Graph, name_as_signature
from .metadata import packed_with_metadata
from .scales import repair_scales, separate_biases, zero_scales
from .targets import lower


def write_float32(serving: Serving, path: Path) -> list[str]:
    """Write float32 weights and arithmetic."""
    _store(serving, _twin(serving), path)
    return []


def write_float16(serving: Serving, path: Path) -> list[str]:
    """Write float16 weights. Runtimes without float16 arithmetic compute in float32."""
    _store(serving, _convert(serving, _float16), path)
    return []


def write_dynamic(serving: Serving, path: Path) -> list[str]:
    """Write int8 weights. The runtime quantizes their inputs; everything else is float32."""
    graph, twin = _convert(serving, _dynamic), _twin(serving)
    separate_biases(graph)
    float_depthwise(graph, twin)
    if serving.representative:
        _correct(serving, graph, twin)
    _store(serving, graph, path)
    return [] if serving.representative else ["no bias was corrected: there is no calibration set"]


def write_int8(serving: Serving, path: Path) -> list[str]:
    """Write int8 weights and activations, calibrated on the representative set."""
    finish = _finish
    if serving.options.float_layers:
        finish = partial(with_float_layers, serving, _twin(serving))
    return _write_integers(serving, _convert(serving, _int8, finish), path)


def write_int16x8(serving: Serving, path: Path) -> list[str]:
    """Write int8 weights and int16 activations, calibrated on the representative set."""
    return _write_integers(serving, _convert(serving, _int16x8), path)


def _write_integers(serving: Serving, graph: Graph, path: Path) -> list[str]:
    twin = _twin(serving)
    separate_biases(graph)
    raised = repair_scales(graph, twin)
    if zero := zero_scales(graph):
        raise InputError(
            f"The quantized graph has {len(zero)} tensors of scale 0, which abort the runtime. The "
            f"first is {zero[0]}. Calibrate on more varied images."
        )
    _correct(serving, graph, twin)
    _store(serving, graph, path)
    return [f"{len(raised)} scales next to zero were raised"] if raised else []


def _correct(serving: Serving, graph: Graph, twin: Graph) -> None:
    samples = next(serving.calibration_samples(IMAGES))
    try:
        correct_biases(graph, twin, float32(serving), samples, serving.scratch)
    except RuntimeFailure as error:
        raise InputError(f"LiteRT does not run the float32 graph: {error}") from error


def _store(serving: Serving, graph: Graph, path: Path) -> None:
    lower(graph, serving.options.target)
    path.write_bytes(packed_with_metadata(graph, serving.metadata))


def _twin(serving: Serving) -> Graph:
    """Return the float32 graph."""
    return Graph(float32(serving).read_bytes())


def float32(serving: Serving) -> Path:
    """Return the path of the float32 file, which is converted only once."""
    kept = serving.scratch / "float32.tflite"
    if not kept.exists():
        graph = _convert(serving, lambda converter, serving, tf: None)
        kept.write_bytes(graph.packed())
    return kept


def _finish(converter: Any) -> bytes:
    return converter.convert()


def _convert(
    serving: Serving,
    setting: Callable[[Any, Serving, Any], None],
    finish: Callable[[Any], bytes] = _finish,
) -> Graph:
    """Convert with builtin operations only, after `setting` has configured the converter."""
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
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        setting(converter, serving, tf)
        try:
            graph = Graph(finish(converter))
        except (InputError, OSError):
            raise
        except Exception as error:  # the converter's exception class is not public
            raise InputError(
                f"TFLite's converter refuses the model: {as_written(_reason(error))}. Leave the "
                "format or the precision out, or replace the operations that it names."
            ) from error
    name_as_signature(graph)
    return graph


def _float16(converter: Any, serving: Serving, tf: Any) -> None:
    _dynamic(converter, serving, tf)
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, serving: Serving, tf: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any, serving: Serving, tf: Any) -> None:
    _calibrated(converter, serving, tf, "TFLITE_BUILTINS_INT8")
    converter.inference_input_type = tf.as_dtype(serving.options.integer_io)
    converter.inference_output_type = tf.as_dtype(serving.options.integer_io)


def _int16x8(converter: Any, serving: Serving, tf: Any) -> None:
    operations = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
    _calibrated(converter, serving, tf, operations)


def _calibrated(converter: Any, serving: Serving, tf: Any, operations: str) -> None:
    _dynamic(converter, serving, tf)
    converter.representative_dataset = serving.calibration_samples
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, operations)]


def _reason(error: Exception) -> str:
    """Return the line of the converter's message that names operations, or its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    return next(iter(named or lines), type(error).__name__).rstrip(".")
