"""Rewriting of an ONNX model in the operations that onnxruntime runs best on a CPU.

onnxruntime's reductions over the channels of an NCHW map access memory in an unfavorable order. A
mean as a matrix product takes a ninth to a fifth of the time, a maximum as pools a fifth to a third
(`benchmarks/NOTES.md`). In opset 18 the axes are an input, and the reductions are not rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Lengths of the rows that pools are given. onnxruntime pools such rows as vectors.
LONGEST_ROW = 2048
SHORTEST_ROW = 16
# Largest number of channels in the window of one pool. Larger windows are slow.
POOLED = 32

Shapes = Mapping[str, list[int]]


def lower_for_cpu(proto: Any, shapes: Shapes) -> Any:
    """Rewrite the operations of attention over channels in operations that run fast.

    Args:
        proto: the model.
        shapes: shapes of its float32 tensors by name. The batch and other free sizes are 0, and the
            batch stays free.

    Returns:
        The model. Feature maps with free sizes are not rewritten.
    """
    from onnxscript import rewriter

    rules = [
        _mean_as_product(shapes),
        _max_as_pools(shapes),
        _without_reshape(shapes),
        _convolutions_of_two_maps(shapes),
        _same_convolution_twice(shapes),
    ]
    return rewriter.rewrite(proto, rules)


def _mean_as_product(shapes: Shapes) -> Any:
    """Rewrite a mean over channels as a matrix product of `1 / channels` and the flat map."""

    def pattern(op: Any, x: Any) -> Any:
        return op.ReduceMean(x, axes=[1], keepdims=1)

    def replacement(op: Any, x: Any) -> Any:
        channels, height, width = shapes[x.name][1:]
        kernel = _constant(op, np.full((1, channels), 1 / channels, "float32"))
        rows = op.Reshape(x, _shape(op, 0, channels, height * width))
        return op.Reshape(op.MatMul(kernel, rows), _shape(op, 0, 1, height, width))

    return _rule(pattern, replacement, lambda context, x, **_: bool(_known(shapes, x)))


def _max_as_pools(shapes: Shapes) -> Any:
    """Rewrite a maximum over channels as maximum pools over a few channels at a time.

    The result is the same for all numbers. A pool may handle NaN differently.
    """

    def pattern(op: Any, x: Any) -> Any:
        return op.ReduceMax(x, axes=[1], keepdims=1)

    def fast(context: Any, x: Any, **_: Any) -> bool:
        shape = _known(shapes, x)
        return shape is not None and bool(_pools(shape[1]) and _rows(shape[2] * shape[3]))

    def replacement(op: Any, x: Any) -> Any:
        channels, height, width = shapes[x.name][1:]
        rows = _rows(height * width)
        pooled = op.Reshape(x, _shape(op, 0, 1, channels, *rows))
        for size in _pools(channels):
            kernel = [size, *(1 for _ in rows)]
            pooled = op.MaxPool(pooled, kernel_shape=kernel, strides=kernel)
        return op.Reshape(pooled, _shape(op, 0, 1, height, width))

    return _rule(pattern, replacement, fast)


def _without_reshape(shapes: Shapes) -> Any:
    """Remove a reshape to the shape that its input already has."""

    def pattern(op: Any, x: Any, shape: Any) -> Any:
        return op.Reshape(x, shape)

    def same(context: Any, x: Any, shape: Any, **_: Any) -> bool:
        now, target = shapes.get(x.name, []), _values(shape)
        if target is None or len(target) == 0 or now[1:] == []:
            return False
        # The target has to leave the batch free, or copy it.
        return bool(target[0] in (-1, 0) and [*target[1:]] == now[1:])

    return _rule(pattern, lambda op, x, shape: op.Identity(x), same)


def _convolutions_of_two_maps(shapes: Shapes) -> Any:
    """Rewrite the sum of convolutions of two one-channel maps as one convolution of both."""

    def pattern(op: Any, a: Any, b: Any, of_a: Any, of_b: Any) -> Any:
        return _sum_of_convolutions(op, (a, of_a), (b, of_b))

    def alike(
        context: Any, a: Any, b: Any, first: Any, second: Any, of_a: Any, of_b: Any, **_: Any
    ) -> bool:
        kernels = [_values(of_a), _values(of_b)]
        if any(each is None or each.shape[:2] != (1, 1) for each in kernels):
            return False
        return kernels[0].shape == kernels[1].shape and _alike(shapes, a, first, b, second)

    def replacement(op: Any, a: Any, b: Any, of_a: Any, of_b: Any, first: Any, **_: Any) -> Any:
        kernel = np.concatenate([_values(of_a), _values(of_b)], axis=1)
        maps = op.Concat(a, b, axis=1)
        return op.Conv(maps, _constant(op, kernel), **_attributes(first))

    return _rule(pattern, replacement, alike)


def _same_convolution_twice(shapes: Shapes) -> Any:
    """Rewrite the sum of two outputs of a convolution as the convolution of the sum of its inputs.

    Its bias counts twice. Channel attention applies its MLP to each of its pools and adds the
    results, so the last layer of the MLP is such a convolution. tf2onnx removes a bias of
    zeros, so there may be a bias or none.
    """

    def pattern(op: Any, a: Any, b: Any, kernel: Any) -> Any:
        return _sum_of_convolutions(op, (a, kernel), (b, kernel), _allow_other_inputs=True)

    def alike(context: Any, a: Any, b: Any, first: Any, second: Any, **_: Any) -> bool:
        if _bias(first) is None or _bias(second) is None:
            return False
        return _alike(shapes, a, first, b, second)

    def replacement(op: Any, a: Any, b: Any, kernel: Any, first: Any, second: Any, **_: Any) -> Any:
        inputs = [op.Add(a, b), kernel]
        bias = _bias(first) + _bias(second)
        if bias.any():
            inputs.append(_constant(op, bias))
        return op.Conv(*inputs, **_attributes(first))

    return _rule(pattern, replacement, alike)


def _sum_of_convolutions(op: Any, one: Sequence[Any], other: Sequence[Any], **allowed: Any) -> Any:
    """Return the pattern of a sum of two convolutions, of these inputs."""
    first = op.Conv(*one, _allow_other_attributes=True, _outputs=["first"], **allowed)
    second = op.Conv(*other, _allow_other_attributes=True, _outputs=["second"], **allowed)
    return op.Add(first, second)


def _bias(convolution: Any) -> Any:
    """Return the values of a bias, the number 0 if there is none, or `None` if it is computed."""
    bias = [each for each in convolution.producer().inputs[2:] if each is not None]
    return _values(bias[0]) if bias else np.float32(0)


def _pools(channels: int) -> tuple[int, ...]:
    """Return the number of channels in the window of each pool; none if one would be too large."""
    sizes: list[int] = []
    while channels > 1:
        size = max(n for n in range(1, min(channels, POOLED) + 1) if not channels % n)
        if size == 1:
            return ()
        sizes.append(size)
        channels //= size
    return tuple(sizes)


def _rows(places: int) -> tuple[int, ...]:
    """Return the shape of the positions as one row or several equal rows; none if impossible."""
    if places <= LONGEST_ROW:
        return (places,)
    lengths = [n for n in range(SHORTEST_ROW, LONGEST_ROW + 1) if not places % n]
    return (places // lengths[-1], lengths[-1]) if lengths else ()


def _known(shapes: Shapes, x: Any) -> list[int] | None:
    """Return the shape of a feature map if all its sizes except the batch are known."""
    shape = shapes.get(x.name, [])
    return shape if len(shape) == 4 and 0 not in shape[1:] else None


def _alike(shapes: Shapes, a: Any, first: Any, b: Any, second: Any) -> bool:
    """Tell whether the convolutions of two maps are alike: in attributes, and in known shape.

    Then neither map is broadcast.
    """
    shape = _known(shapes, a)
    if shape is None or shape != _known(shapes, b):
        return False
    return _attributes(first) == _attributes(second)


def _rule(pattern: Any, replacement: Any, condition: Any) -> Any:
    from onnxscript.rewriter import pattern as rules

    return rules.RewriteRule(pattern, replacement, condition)


def _values(constant: Any) -> Any:
    """Return the values of a constant; `None` if the tensor is computed."""
    import onnx_ir

    found = onnx_ir.convenience.get_const_tensor(constant)
    return None if found is None else found.numpy()


def _attributes(convolution: Any) -> dict[str, Any]:
    return {name: each.value for name, each in convolution.producer().attributes.items()}


def _shape(op: Any, *sizes: int) -> Any:
    return _constant(op, np.array(sizes, "int64"))


def _constant(op: Any, values: np.ndarray) -> Any:
    import onnx_ir

    return op.Constant(value=onnx_ir.tensor(values))


# The passes that each target applies in turn, to float32 ONNX models.
LOWERINGS: dict[str, tuple[Callable[[Any, Shapes], Any], ...]] = {
    "cpu": (lower_for_cpu,),
    "npu": (),
    # The model stays as the converter writes it.
    "generic": (),
}
