"""Rules for the number of multiply-adds of a layer or an operation, from its tensor shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Shape = tuple[int | None, ...]


def _product(sizes: Any) -> int:
    sizes = list(sizes)
    if None in sizes:
        raise ValueError(
            "Every size that counts must be defined; where the model leaves height and width open, "
            f"give `input_shape`, such as (224, 224, 3). Received: sizes {tuple(sizes)}"
        )
    return math.prod(sizes)


def _weights_at_each_place(layer: Any, _: list[Shape], outputs: Any) -> int:
    """Count every kernel weight once per place of the output."""
    return _places(layer, outputs.shape) * _kernels(layer)


def _weights_at_each_source(layer: Any, inputs: list[Shape], _: Any) -> int:
    """Count every kernel weight once per place of the input, as transposed convolutions do."""
    return _places(layer, inputs[0]) * _kernels(layer)


def _places(layer: Any, shape: Shape) -> int:
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return _product(shape[:1] + shape[2:] if first else shape[:-1])


def _kernels(layer: Any) -> int:
    """Count the weights that a layer multiplies by: all but biases and the weights of LoRA."""
    kernels = [w for w in layer.weights if w.name.endswith("kernel") and "lora" not in w.name]
    return sum(_product(kernel.shape) for kernel in kernels)


def _einsum_dense(layer: Any, inputs: list[Shape], _: Any) -> int:
    return _product(extents_of(layer.equation, [inputs[0], layer.kernel.shape]).values())


def _convolution(operation: Any, shapes: list[Shape], outputs: Any) -> int:
    return _places(operation, outputs.shape) * sum(map(_product, shapes[1:]))


def _transposed(operation: Any, shapes: list[Shape], _: Any) -> int:
    return _places(operation, shapes[0]) * _product(shapes[1])


def _matrix_product(_: Any, shapes: list[Shape], outputs: Any) -> int:
    return _product(outputs.shape) * _product(shapes[0][-1:])


def _dot_product_attention(_: Any, shapes: list[Shape], outputs: Any) -> int:
    """Count each query times each key, and each of these scores times each value."""
    query, key, value = shapes[:3]
    return _product(query[:-1]) * _product(key[1:2]) * (_product(query[-1:]) + _product(value[-1:]))


def _einsum(operation: Any, shapes: list[Shape], _: Any) -> int:
    return _product(extents_of(operation.subscripts, shapes).values())


def extents_of(equation: str, shapes: list[Shape]) -> dict[str, int | None]:
    """Return the size of each index of an einsum."""
    extents: dict[str, int | None] = {}
    for term, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        for label, size in zip(labels_of(term, len(shape)), shape, strict=True):
            # A size of 1 is broadcast.
            extents[label] = extents[label] if size == 1 and label in extents else size
    return extents


def labels_of(term: str, rank: int) -> list[str]:
    """Return the indices of a term; the ones behind `...` are counted from the right."""
    head, dots, tail = term.replace(" ", "").partition("...")
    hidden = rank - len(head) - len(tail) if dots else 0
    return [*head, *(f"...{i}" for i in range(hidden, 0, -1)), *tail]


# A function from a layer or an operation of `keras.ops`, the shapes of its arguments, and its
# outputs to the number of multiply-adds.
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
}
# Part of the module names of Keras layers that preprocess images, text and sound.
PREPROCESSING = ".preprocessing."
# Further layers, which multiply no matrices. Any other layer is opened.
FREE = {
    *("InputLayer", "Identity", "Masking", "Embedding"),
    *("BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization"),
    *("UnitNormalization", "Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"),
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout"),
    *("GaussianDropout", "GaussianNoise", "ActivityRegularization"),
    *("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"),
    *("Flatten", "Permute", "RepeatVector", "Reshape"),
    *(f"{kind}{n}D" for kind in ("Cropping", "UpSampling", "ZeroPadding") for n in (1, 2, 3)),
    *(f"{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"Global{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
    *(f"Adaptive{kind}Pooling{n}D" for kind in ("Average", "Max") for n in (1, 2, 3)),
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
# Operations without a rule that multiply matrices or run other operations. All other operations
# multiply no matrices.
REFUSED = {
    *("Correlate", "Dot", "GaussianBlur", "Inner", "Tensordot", "Vdot"),
    *("AssociativeScan", "Cond", "ForiLoop", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop"),
}
