"""Functions of a model compiled by the backend, their gradients, and runs over many images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


def compiled(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable:
    """The function of tensors, compiled by TensorFlow or JAX, without gradients on PyTorch.

    Args:
        function: takes and returns tensors, and reads variables.
        variables: all that it reads. It changes none.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if backend == "jax":
        import jax

        # The values are arguments: as constants they would be compiled in.
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
    """The gradient of the first of a function's two answers, a scalar, at x; and the second."""
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
    """Run a function of a batch over all rows of arrays, and join what it returns.

    The last batch is filled up to the size of the others, since a shape more is compiled anew.

    Args:
        function: takes as many tensors as there are arrays, and returns a structure of tensors of
            as many rows.
        arrays: of equal lengths, at least one row.
        size: rows of a batch.

    Returns:
        The structure, of NumPy arrays.
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
