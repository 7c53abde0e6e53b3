"""multiply_adds: the computation that one input takes, layer by layer, along the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras

from keras_cbam.surgery.copying import copy_operation
from keras_cbam.surgery.graph import as_functional, has_graph
from keras_cbam.surgery.multiply_add_rules import (
    FREE,
    LAYERS,
    OPERATIONS,
    PREPROCESSING,
    REFUSED,
    Shape,
    extents_of,
    labels_of,
)


def multiply_adds(
    model: keras.Model, input_shape: tuple[int | None, ...] | None = None
) -> dict[str, int]:
    """Count the multiply-adds that one input takes: multiplications, each with its addition.

    The count includes convolutions and matrix products in layers, in `keras.ops`, inside nested
    models and inside composite layers such as `CBAM`. It leaves out layers that preprocess images,
    text or sound. It also leaves out pooling, normalization, activations, additions and the
    products with gates. Papers count in this way, and call the sum FLOPs.

    Args:
        model: a functional or a built Sequential `keras.Model`. It does not change.
        input_shape: shape of the only input without the batch, such as `(224, 224, 3)`, for a model
            that leaves height and width open. Defaults to the input shape of the model.

    Returns:
        A dictionary from layer addresses to counts for one input, with all layers that have a
        count. The address of a layer inside a nested model is `<model>/<layer>`.
        `sum(multiply_adds(model).values())` is the total.

    Raises:
        TypeError: if the model has no graph, or if a layer or an operation cannot be counted.
        ValueError: if a size that counts is not defined, or if `input_shape` does not fit.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> round(sum(multiply_adds(model).values()) / 1e6)
        301
    """
    functional = as_functional(model)
    # Use a batch of one, so that the count is right if a layer merges batch and places.
    own = [tuple(tensor.shape) for tensor in functional.inputs]
    if input_shape is None:
        return dict(_walk(functional, [(1, *shape[1:]) for shape in own]))
    given = tuple(input_shape) if isinstance(input_shape, Sequence) else (input_shape,)
    fits = len(own) == 1 and len(own[0]) == len(given) + 1
    if not fits or any(a not in (None, b) for a, b in zip(own[0][1:], given, strict=True)):
        raise ValueError(
            "Argument `input_shape` must be a shape of the model's one input, without the batch. "
            f"Received: input_shape={input_shape} for inputs of shapes {own}"
        )
    return dict(_walk(functional, [(1, *given)]))


def _walk(functional: keras.Model, shapes: list[Shape]) -> Counter[str]:
    """Count along the graph of a model, for inputs of `shapes` in place of its own shapes."""
    counts: Counter[str] = Counter()

    def call(operation: keras.Operation, /, *args: Any, **kwargs: Any) -> Any:
        outputs = _Standing(operation)(*args, **kwargs)
        counts.update(_count(operation, args, kwargs, outputs))
        return outputs

    inputs = [
        keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)
        for shape, tensor in zip(shapes, functional.inputs, strict=True)
    ]
    keras.models.clone_model(
        functional,
        input_tensors=keras.tree.pack_sequence_as(functional.input, inputs),
        clone_function=lambda operation: operation,
        call_function=call,
    )
    return counts


class _Standing(keras.Operation):
    """Stands in for an operation in a graph of shapes, so that the operation is not called."""

    def __init__(self, operation: keras.Operation):
        super().__init__()
        self.operation = operation

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        outputs = self.operation.compute_output_spec(*args, **kwargs)
        if isinstance(self.operation, keras.layers.EinsumDense):
            # Keras leaves a size open where the layer's argument `output_shape` does.
            shapes = [args[0].shape, self.operation.kernel.shape]
            extents = extents_of(self.operation.equation, shapes)
            target = self.operation.equation.split("->")[1]
            shape = tuple(extents[label] for label in labels_of(target, len(outputs.shape)))
            return keras.KerasTensor(shape, outputs.dtype)
        return outputs


def _count(
    operation: keras.Operation, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
) -> Counter[str]:
    """Count one operation, under its name or under the addresses of the layers inside it."""
    tensors = keras.tree.flatten((args, kwargs))
    if has_graph(operation):
        shapes = [tuple(x.shape) for x in tensors if isinstance(x, keras.KerasTensor)]
        counts = _walk(as_functional(operation), shapes)
        return Counter({f"{operation.name}/{name}": count for name, count in counts.items()})
    kind = type(operation).__name__
    built_in = type(operation).__module__.startswith("keras.")
    shapes = [x.shape for x in tensors if hasattr(x, "shape")]
    if not isinstance(operation, keras.layers.Layer):
        if kind in REFUSED:
            raise TypeError(
                f"Operation {operation.name} of class {kind} cannot be counted: it may multiply "
                "matrices, and no rule says how many"
            )
        count = OPERATIONS[kind](operation, shapes, outputs) if kind in OPERATIONS else 0
    elif built_in and kind in LAYERS:
        _refuse_packed(operation)
        count = LAYERS[kind](operation, shapes, outputs)
    elif built_in and (kind in FREE or PREPROCESSING in type(operation).__module__):
        count = 0
    else:
        count = _opened(operation, args, kwargs).total()
    return Counter({operation.name: count} if count else {})


def _refuse_packed(layer: Any) -> None:
    mode = getattr(layer, "quantization_mode", None)
    if mode not in (None, "int8", "float8"):
        raise TypeError(
            f"Layer {layer.name} of class {type(layer).__name__} cannot be counted: quantized to "
            f"{mode}, its kernel does not show its size"
        )


def _opened(
    layer: keras.layers.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Counter[str]:
    """Count inside a layer that calls layers and operations, in the graph of a copy."""
    inputs: list[keras.KerasTensor] = []

    def fresh(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        inputs.append(keras.Input(batch_shape=value.shape, dtype=value.dtype))
        return inputs[-1]

    args, kwargs = keras.tree.map_structure(fresh, (args, kwargs))
    try:
        copied = copy_operation(layer)
        copied(*args, **kwargs)  # to build it
        inner = keras.Model(inputs, keras.tree.flatten(copied.call(*args, **kwargs)))
    except Exception as error:
        raise TypeError(
            f"Layer {layer.name} of class {type(layer).__name__} cannot be counted: what it "
            "computes cannot be seen, since it cannot be copied, or uses more than layers and "
            f"keras.ops: {error}"
        ) from error
    return _walk(inner, [tuple(tensor.shape) for tensor in inner.inputs])
