"""Compiled functions of a model, their gradients, and runs over many images in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


def compiled(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable:
    """Compile a function of tensors on TensorFlow and JAX. On PyTorch, turn off its gradients.

    Args:
        function: takes and returns tensors. It may read variables, but must not change them.
        variables: all variables that the function reads.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if backend == "jax":
        import jax

        # The values are passed as arguments. As constants, they would be compiled in.
        @jax.jit
        def stateless(values: Any, *args: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return function(*args)

        return lambda *args: stateless([variable.value for variable in variables], *args)
    if backend == "torch":
        import torch

        return torch.no_grad()(function)
    return function


def gradient(function: Callable[[Any], tuple[Any, Any]], x: Any) -> tuple[Any, Any]:
    """Return the gradient at `x` of a function's first output, a scalar, and its second output."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            score, others = function(x)
        return tape.gradient(score, x), others
    if backend == "jax":
        import jax

        return jax.grad(function, has_aux=True)(x)
    if backend == "torch":
        import torch

        with torch.enable_grad():
            x = x.detach().requires_grad_()
            score, others = function(x)
            (found,) = torch.autograd.grad(score, x)
        return found, others
    raise RuntimeError(f"Expected a backend that has gradients. Received: {backend}")


def in_batches(function: Callable[..., Any], arrays: Sequence[np.ndarray], size: int) -> Any:
    """Run a function batch by batch over all rows of arrays, and join the results.

    The last batch is padded to the size of the others, since a new shape would be compiled again.

    Args:
        function: takes one tensor per array, and returns a structure of tensors with the same
            number of rows.
        arrays: arrays of equal length, with at least one row.
        size: rows in a batch.

    Returns:
        The structure that `function` returns, with NumPy arrays.
    """
    count = len(arrays[0])
    size = min(size, count)
    whole: Any = None
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        found = function(*(keras.ops.convert_to_tensor(array[rows]) for array in arrays))
        found = keras.tree.map_structure(keras.ops.convert_to_numpy, found)
        if whole is None:
            whole = keras.tree.map_structure(
                lambda each: np.empty((count, *each.shape[1:]), each.dtype), found
            )
        stop = min(start + size, count)
        for to, each in zip(keras.tree.flatten(whole), keras.tree.flatten(found), strict=True):
            to[start:stop] = each[: stop - start]
    return whole
