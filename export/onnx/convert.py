"""Conversion to ONNX by tf2onnx, with any batch size, and NHWC as in Keras."""

from __future__ import annotations

import copy
import gc
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, refused

from ..source.layer_names import as_written
from ..source.preprocessing import PIXELS
from ..source.serving import Serving, traced
from .lowering import LOWERINGS, Shapes
from .resize import resize_to_whole_sizes

# Batch sizes for shape inference. Sizes that differ between them are free.
BATCHES = (1, 3)

ADVICE = "Leave the format onnx out, or replace the operations that it names."

# ONNX's names for RGB pixels in 0..255: docs/MetadataProps.md of its repository.
PIXEL_PROPERTIES = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.NominalPixelRange": "NominalRange_0_255",
}


def write_float32(serving: Serving, path: Path) -> list[str]:
    """Write float32 weights and arithmetic, in the operations of the target."""
    path.write_bytes(float32(serving).read_bytes())
    return finished(serving, path, LOWERINGS[serving.options.target])


def finished(
    serving: Serving, path: Path, lowerings: Sequence[Callable[[Any, Shapes], Any]] = ()
) -> list[str]:
    """Lower a file and add its metadata, and return notes about it for the report.

    Args:
        serving: the model.
        path: the file, which is changed in place.
        lowerings: functions that take an ONNX model and its shapes, and return the lowered model.
            They are applied in turn.
    """
    import onnx

    record = serving.metadata.record()
    properties = {k: v if isinstance(v, str) else json.dumps(v) for k, v in record.items()}
    if serving.metadata.preprocessing.get("takes") == PIXELS:
        properties |= PIXEL_PROPERTIES
    model = onnx.load(path)
    if _transposes(model) > 1:
        reshape_where_nothing_moves(model)
    for lowering in lowerings:
        model = lowering(model, shapes_of_any_batch(model))
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)
    return [_transposes_noted(model)]


def float32(serving: Serving) -> Path:
    """Return the path of the float32 file, which is converted only once."""
    import onnx
    import tf2onnx

    kept = serving.scratch / "float32.onnx"
    if kept.exists():
        return kept
    function = _in_line(serving)
    refusal = refused(
        "tf2onnx cannot convert the model: ",
        only=(ValueError, RuntimeError, NotImplementedError),
        passing=(InputError,),
        told=lambda error: f"{error}. {ADVICE}",
    )
    # The errors that tf2onnx logs are in the sentence.
    with refusal, _collected_often(), silent(logging.ERROR):
        proto, _ = tf2onnx.convert.from_function(
            function,
            input_signature=serving.signature(None),
            opset=serving.options.opset,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    # tf2onnx leaves operations that it cannot convert in the graph.
    left = sorted(
        {n.op_type for n in proto.graph.node if not n.domain and not onnx.defs.has(n.op_type)}
    )
    if left:
        named = as_written(", ".join(left))
        raise InputError(f"tf2onnx cannot convert the operations {named}. {ADVICE}")
    _fix_captured(proto, function)
    resize_to_whole_sizes(proto, shapes_of_any_batch)
    onnx.save(proto, kept)
    if _transposes(proto) > 1:
        _merge_transposes(kept)
    return kept


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Write erfc(x), which exact GELUs use, as 1 - erf(x). ONNX has only erf."""
    (output,) = node.output
    kind = {"shapes": [context.get_shape(output)], "dtypes": [context.get_dtype(output)]}
    context.remove_node(node.name)
    erf = context.make_node("Erf", [node.input[0]], **kind)
    one = context.make_const(f"{name}__one", np.ones((), "float32"))
    context.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=[output], **kind)


def _transposes_noted(proto: Any) -> str:
    """Return the number of Transposes, and how many values of an image each moves, as a note."""
    count = _transposes(proto)
    if count < 2:
        return f"{count} Transpose" + ("" if count else "s")
    shapes = _shapes(_of_batch(proto, 1))
    sizes = [shapes.get(n.input[0], [])[1:] for n in proto.graph.node if n.op_type == "Transpose"]
    moved = [f"{math.prod(each):,}" if each and all(each) else "?" for each in sizes]
    return f"{count} Transposes, which move {', '.join(moved)} values of an image"


def shapes_of_any_batch(proto: Any) -> dict[str, list[int]]:
    """Return the shape of each float32 tensor, with 0 for the batch and other free sizes."""
    import onnx

    few, more = (_shapes(_of_batch(proto, size), onnx.TensorProto.FLOAT) for size in BATCHES)
    return {
        name: [a if a == b else 0 for a, b in zip(shape, more[name], strict=True)]
        for name, shape in few.items()
        if len(shape) == len(more.get(name, ()))
    }


def _of_batch(proto: Any, size: int) -> Any:
    """Return the model for one batch size. Shape inference can then also resolve reshapes."""
    one = copy.deepcopy(proto)
    for value in one.graph.input:
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_value:
            batch.dim_value = size
    del one.graph.value_info[:]
    for value in one.graph.output:
        value.type.tensor_type.ClearField("shape")
    return one


def _shapes(proto: Any, element: int | None = None) -> dict[str, list[int]]:
    """Return the known shapes, of all tensors or of those of one type; 0 for unknown sizes."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    return {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
        if element in (None, value.type.tensor_type.elem_type)
    }


def reshape_where_nothing_moves(proto: Any) -> None:
    """Replace each Transpose that only moves axes of size 1 by a Reshape.

    tf2onnx leaves some of these, such as those of the pooled channels of attention. It iterates
    over sets, so which ones it leaves differs between processes.
    """
    import onnx

    shapes = _shapes(proto)
    for node in proto.graph.node:
        sizes = shapes.get(node.input[0], ()) if node.op_type == "Transpose" else ()
        if not sizes:
            continue
        (order,) = (list(each.ints) for each in node.attribute)
        moved = [axis for axis in order if sizes[axis] != 1]
        if moved != sorted(moved) or sizes.count(0) > 1:
            continue
        name = f"{node.output[0]}__shape"
        target = np.array([sizes[axis] or -1 for axis in order], "int64")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(target, name))
        node.op_type = "Reshape"
        del node.attribute[:]
        node.input.append(name)


def _transposes(proto: Any) -> int:
    return sum(node.op_type == "Transpose" for node in proto.graph.node)


def _merge_transposes(path: Path) -> None:
    """Let onnxruntime merge the Transposes that tf2onnx leaves, such as around an added scalar.

    Only its basic optimizations are used, because they keep to ONNX's own operations.
    """
    import onnxruntime

    merged = path.with_name("merged.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(merged)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    merged.replace(path)


def _fix_captured(proto: Any, function: Any) -> None:
    """Turn tensors that the function captured into constants. tf2onnx makes them inputs.

    An example is the mean of Keras's Normalization.
    """
    import onnx

    captured = function.get_concrete_function().graph.captures
    values = {inside.name: tensor for tensor, inside in captured if inside.dtype != "resource"}
    for each in list(proto.graph.input):
        if each.name in values:
            proto.graph.input.remove(each)
            constant = onnx.numpy_helper.from_array(values[each.name].numpy(), each.name)
            proto.graph.initializer.append(constant)


def _in_line(serving: Serving) -> Any:
    """Trace the serving function as one graph without function calls.

    Keras compiles some convolutions, such as grouped ones, as separate functions. tf2onnx cannot
    convert calls of these.
    """
    import tensorflow as tf

    def function(*inputs: Any) -> dict[str, Any]:
        eager = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            return serving.function(*inputs)
        finally:
            tf.config.run_functions_eagerly(eager)

    return traced(function, serving.signature(None))


@contextmanager
def silent(level: int) -> Iterator[None]:
    """Suppress log messages up to this level, including those to the root logger."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _collected_often() -> Iterator[None]:
    """Free the copies of the network that tf2onnx's passes leave in reference cycles.

    Python's garbage collector runs less often as objects accumulate, so the existing objects are
    excluded from it.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.collect()
    gc.set_threshold(*thresholds[:2], 2)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        # Before the other objects are included again: tf2onnx's copies are not among them.
        gc.collect()
        gc.unfreeze()
