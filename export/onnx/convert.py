"""ONNX, by tf2onnx: any batch size, NHWC as in Keras."""

from __future__ import annotations

import gc
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError

from ..source.layer_names import as_written
from ..source.preprocessing import PIXELS
from ..source.serving import Serving, traced
from .lowering import LOWERINGS, Shapes
from .resize import resize_to_whole_sizes

# Sizes of batch that shapes are inferred for: what differs between them is free.
BATCHES = (1, 3)

ADVICE = "Leave the format onnx out, or replace what it names."

# The names that ONNX has for it: docs/MetadataProps.md of its repository.
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
    """Write into the file what it tells of itself, and return what is to note about it.

    Args:
        serving: the model.
        path: the file, changed in place.
        lowerings: functions of a model and its shapes that give the model lowered, in turn.
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
    """The float32 file, converted once for all that is made from it."""
    import onnx
    import tf2onnx

    kept = serving.scratch / "float32.onnx"
    if kept.exists():
        return kept
    function = _in_line(serving)
    try:
        with _collected_often(), silent(logging.ERROR):  # what it says is said below
            proto, _ = tf2onnx.convert.from_function(
                function,
                input_signature=serving.signature(None),
                opset=serving.options.opset,
                custom_op_handlers={"Erfc": (_erfc, [])},
            )
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"tf2onnx cannot convert the model: {error}. {ADVICE}") from error
    # What it has no conversion for, it leaves as it is.
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
    """erfc(x) = 1 - erf(x), of which ONNX has the latter; exact GELUs are made of erfc."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    context.remove_node(node.name)
    erf = context.make_node("Erf", [node.input[0]], shapes=[shape], dtypes=[dtype])
    one = context.make_const(f"{name}__one", np.ones((), "float32"))
    context.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        name=name,
        outputs=node.output,
        shapes=[shape],
        dtypes=[dtype],
    )


def _transposes_noted(proto: Any) -> str:
    """How many Transpose operations there are, and how many values of an image each moves."""
    count = _transposes(proto)
    if count < 2:
        return f"{count} Transpose" + ("" if count else "s")
    shapes = _shapes(_of_batch(proto, 1))
    sizes = [shapes.get(n.input[0], [])[1:] for n in proto.graph.node if n.op_type == "Transpose"]
    moved = [f"{math.prod(each):,}" if each and all(each) else "?" for each in sizes]
    return f"{count} Transposes, which move {', '.join(moved)} values of an image"


def shapes_of_any_batch(proto: Any) -> dict[str, list[int]]:
    """The shape of each float32 tensor, 0 for the batch and for what else is free."""
    import onnx

    few, more = (_shapes(_of_batch(proto, size), onnx.TensorProto.FLOAT) for size in BATCHES)
    return {
        name: [a if a == b else 0 for a, b in zip(shape, more[name], strict=True)]
        for name, shape in few.items()
        if len(shape) == len(more.get(name, ()))
    }


def _of_batch(proto: Any, size: int) -> Any:
    """The model for one size of batch, from which shape inference gets through reshapes too."""
    import onnx

    one = onnx.ModelProto()
    one.CopyFrom(proto)
    for value in one.graph.input:
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_value:
            batch.dim_value = size
    del one.graph.value_info[:]
    for value in one.graph.output:
        value.type.tensor_type.ClearField("shape")
    return one


def _shapes(proto: Any, element: int | None = None) -> dict[str, list[int]]:
    """The shape of each tensor, or of each of one type, that is known; 0 for unknown sizes."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    return {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
        if element in (None, value.type.tensor_type.elem_type)
    }


def reshape_where_nothing_moves(proto: Any) -> None:
    """Write a Transpose that only changes the places of sizes of 1 as the Reshape it is.

    Which of these tf2onnx leaves, as of the pooled channels of attention, differs by process, since
    it goes through sets.
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
    """Let onnxruntime do what tf2onnx's optimizer gives up at, such as the addition of a scalar.

    Of its optimizations the basic ones alone, which leave ONNX's own operations.
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
    """Make constants of what the function captured, which tf2onnx counts among the inputs.

    Keras's Normalization captures its mean, for one.
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
    """The serving function as one graph, without calls of functions, which tf2onnx has no name for.

    Keras compiles some convolutions, the grouped ones among them, as functions of their own.
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
    """Drop what converters log, up to this level, to the root logger some of it."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _collected_often() -> Iterator[None]:
    """Free the copies of the network that each of tf2onnx's passes leaves in reference cycles.

    Python's garbage collector runs less often as objects accumulate, so the objects of before are
    left out.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.collect()
    gc.set_threshold(*thresholds[:2], 2)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        gc.collect()
