"""multiply_adds: what one call of a model computes, layer by layer, walked along its graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.surgery.copying import copy_operation
from keras_cbam.surgery.graph import as_functional, has_graph

Shape = tuple[int | None, ...]


def multiply_adds(
    model: keras.Model, input_shape: tuple[int | None, ...] | None = None
) -> dict[str, int]:
    """Count the multiplications, each with its addition, that one input takes.

    Convolutions and matrix products count, wherever they stand: in layers, in `keras.ops`, inside
    nested models and inside layers of layers such as `CBAM`. Pooling, normalization, activations,
    gates' products and additions do not: papers count so, and call the sum FLOPs.

    Args:
        model: a functional or a built Sequential `keras.Model`; it stays as it was.
        input_shape: shape of its one input without the batch, such as `(224, 224, 3)`, where the
            model leaves height and width open. Defaults to the model's own.

    Returns:
        A dictionary from layer addresses to counts for one input of the batch, of the layers that
        have any; a layer inside a nested model is named by that model's name, a slash, and its own.
        `sum(multiply_adds(model).values())` is the total.

    Raises:
        TypeError: if the model has no graph, or a layer computes what cannot be seen.
        ValueError: if a size that counts is not defined, or `input_shape` does not fit.

    Example:
        >>> model = keras.applications.MobileNetV2(weights=None)
        >>> round(sum(multiply_adds(model).values()) / 1e6)
        301
    """
    functional = as_functional(model)
    if input_shape is None:
        return dict(_walk(functional))
    own = [tuple(tensor.shape) for tensor in functional.inputs]
    fits = len(own) == 1 and len(own[0]) == len(input_shape) + 1
    if not fits or any(a not in (None, b) for a, b in zip(own[0][1:], input_shape, strict=True)):
        raise ValueError(
            "Argument `input_shape` must be a shape of the model's one input, without the batch. "
            f"Received: input_shape={input_shape} for inputs of shapes {own}"
        )
    return dict(_walk(functional, [(None, *input_shape)]))


def _walk(functional: keras.Model, shapes: list[Shape] | None = None) -> Counter[str]:
    """Count along the graph of a model, for inputs of `shapes` in place of its own."""
    counts: Counter[str] = Counter()

    def call(operation: keras.Operation, /, *args: Any, **kwargs: Any) -> Any:
        outputs = _Standing(operation)(*args, **kwargs)
        counts.update(_count(operation, args, kwargs, outputs))
        return outputs

    own = functional.inputs
    inputs = [
        keras.Input(batch_shape=shape, dtype=tensor.dtype, name=tensor.name)
        for shape, tensor in zip(shapes or [t.shape for t in own], own, strict=True)
    ]
    keras.models.clone_model(
        functional,
        input_tensors=keras.tree.pack_sequence_as(functional.input, inputs),
        clone_function=lambda operation: operation,
        call_function=call,
    )
    return counts


class _Standing(keras.Operation):
    """Stands for an operation in a graph of shapes, so that the operation itself is not called."""

    def __init__(self, operation: keras.Operation):
        super().__init__()
        self.operation = operation

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        return self.operation.compute_output_spec(*args, **kwargs)


def _count(
    operation: keras.Operation, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any
) -> Counter[str]:
    """Count what one operation does, by its address or by those of the layers within."""
    tensors = keras.tree.flatten((args, kwargs))
    if has_graph(operation):
        shapes = [tuple(x.shape) for x in tensors if isinstance(x, keras.KerasTensor)]
        counts = _walk(as_functional(operation), shapes)
        return Counter({f"{operation.name}/{name}": count for name, count in counts.items()})
    kind = type(operation).__name__
    if not isinstance(operation, keras.layers.Layer):
        rule = OPERATIONS.get(kind)
        count = rule(operation, [getattr(x, "shape", ()) for x in tensors], outputs) if rule else 0
    elif kind in LAYERS and _is_built_in(operation):
        count = LAYERS[kind](operation, [x.shape for x in tensors if hasattr(x, "shape")], outputs)
    elif _is_built_in(operation) and not _holds_layers(operation):
        count = _nothing(operation)
    else:
        count = _opened(operation, args, kwargs).total()
    return Counter({operation.name: count} if count else {})


def _is_built_in(layer: keras.layers.Layer) -> bool:
    lambdas = isinstance(layer, keras.layers.Lambda)
    return type(layer).__module__.startswith("keras.") and not lambdas


def _holds_layers(layer: keras.layers.Layer) -> bool:
    held = keras.tree.flatten([v for v in vars(layer).values() if not isinstance(v, dict)])
    return any(isinstance(value, keras.layers.Layer) for value in held)


def _nothing(layer: keras.layers.Layer) -> int:
    """0 for a layer that works value by value, which has no matrix among its weights."""
    if any(len(weight.shape) > 1 for weight in layer.weights):
        raise TypeError(
            f"Layer {layer.name} of class {type(layer).__name__} cannot be counted: no rule says "
            "what it does with its weights"
        )
    return 0


def _opened(
    layer: keras.layers.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Counter[str]:
    """Count within a layer that calls layers and operations, in a graph of a copy of it."""
    copied = copy_operation(layer)
    inputs: list[keras.KerasTensor] = []

    def fresh(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        inputs.append(keras.Input(batch_shape=value.shape, dtype=value.dtype))
        return inputs[-1]

    args, kwargs = keras.tree.map_structure(fresh, (args, kwargs))
    try:
        copied(*args, **kwargs)  # to build it
        outputs = keras.tree.flatten(copied.call(*args, **kwargs))
        inner = keras.Model(inputs, outputs)
    except Exception as error:
        raise TypeError(
            f"Layer {layer.name} of class {type(layer).__name__} cannot be counted: what it "
            f"computes cannot be seen, since it is not all keras.ops and layers: {error}"
        ) from error
    return _walk(inner)


def _product(sizes: Any) -> int:
    sizes = list(sizes)
    if None in sizes:
        raise ValueError(
            "Every size that counts must be defined; where the model leaves height and width open, "
            f"give `input_shape`, such as (224, 224, 3). Received: sizes {tuple(sizes)}"
        )
    return math.prod(sizes)


def _weights_at_each_place(layer: Any, _: list[Shape], outputs: Any) -> int:
    """Every weight of the kernels once for each place of the output."""
    return _places(layer, outputs.shape) * _kernels(layer)


def _weights_at_each_source(layer: Any, inputs: list[Shape], _: Any) -> int:
    """Every weight of the kernels once for each place of the input, as transposed convolutions."""
    return _places(layer, inputs[0]) * _kernels(layer)


def _places(layer: Any, shape: Shape) -> int:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return _product(shape[2:] if first else shape[1:-1])


def _kernels(layer: Any) -> int:
    """How many weights a layer multiplies by: all but the bias, and what LoRA keeps apart."""
    kernels = [w for w in layer.weights if w.name.endswith("kernel") and "lora" not in w.name]
    return sum(_product(kernel.shape) for kernel in kernels)


def _einsum_dense(layer: Any, inputs: list[Shape], _: Any) -> int:
    return _all_indices(layer.equation, [inputs[0], layer.kernel.shape])


def _convolution(operation: Any, shapes: list[Shape], outputs: Any) -> int:
    return _places(operation, outputs.shape) * sum(map(_product, shapes[1:]))


def _transposed(operation: Any, shapes: list[Shape], _: Any) -> int:
    return _places(operation, shapes[0]) * _product(shapes[1])


def _matrix_product(_: Any, shapes: list[Shape], outputs: Any) -> int:
    return _product(outputs.shape[1:]) * _product(shapes[0][-1:])


def _dot_product_attention(_: Any, shapes: list[Shape], outputs: Any) -> int:
    """Each query with each key, and what comes of it with each value."""
    query, key = shapes[:2]
    return _product(query[1:]) * _product(key[1:2]) + _product(outputs.shape[1:]) * _product(
        key[1:2]
    )


def _einsum(operation: Any, shapes: list[Shape], _: Any) -> int:
    return _all_indices(operation.subscripts, shapes)


def _all_indices(equation: str, shapes: list[Shape]) -> int:
    """The product of the extents of all indices of an einsum but the batch's."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    extents: dict[str, int | None] = {}
    for term, shape in zip(terms, shapes, strict=True):
        head, _, tail = term.partition("...")
        if "..." in term:
            shared = [f"...{i}" for i in range(len(shape) - len(head) - len(tail))]
            labels = [*head, *shared, *tail]
        else:
            labels = list(head)
        extents.update(zip(labels, shape, strict=True))
    batch = "...0" if terms[0].startswith("...") else terms[0][0]
    return _product(size for label, size in extents.items() if label != batch)


# What a layer, or an operation of `keras.ops`, computes: of itself, the shapes of its arguments and
# its outputs. What stands in neither table multiplies no matrix.
Rule = Callable[[Any, list[Shape], Any], int]
LAYERS: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("Conv1D", "Conv2D", "Conv3D", "Dense"),
            *("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
        ),
        _weights_at_each_place,
    ),
    **dict.fromkeys(
        ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _weights_at_each_source
    ),
    "EinsumDense": _einsum_dense,
    "Embedding": lambda *_: 0,
}
OPERATIONS: dict[str, Rule] = {
    "Conv": _convolution,
    "DepthwiseConv": _convolution,
    "SeparableConv": _convolution,
    "ConvTranspose": _transposed,
    "DotProductAttention": _dot_product_attention,
    "Matmul": _matrix_product,
    "Einsum": _einsum,
}
