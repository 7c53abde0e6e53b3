"""The operations that compute an output of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

SIGMOIDS = ("Sigmoid", "HardSigmoid", "sigmoid", "hard_sigmoid")
# Operations that move values without changing them.
MOVING = ("Cast", "Concatenate", "Dropout", "ExpandDims", "Flatten", "GetItem", "Identity")
PLACING = ("Permute", "Reshape", "Squeeze", "Transpose")


def is_one_sigmoid(tensor: Any) -> bool:
    """Return whether an output is `(batch, 1)` from a sigmoid: one score for two classes."""
    return len(tensor.shape) == 2 and tensor.shape[1] == 1 and ends_in_sigmoid(tensor)


def ends_in_sigmoid(tensor: Any) -> bool:
    """Return whether an output comes from sigmoids, followed only by moves of values."""
    made = list(makers(tensor))
    return bool(made) and all(map(_is_sigmoid, made))


def makers(tensor: Any) -> Iterator[Any]:
    """Yield the operations that compute an output, in nested models too.

    Operations after them that only move values are skipped.
    """
    history: Any = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return
    operation = history.operation
    outputs = getattr(operation, "outputs", None)
    if isinstance(operation, keras.Model) and outputs:
        yield from makers(outputs[history.tensor_index])
    elif _only_moves(operation):
        for source in operation._inbound_nodes[history.node_index].input_tensors:
            yield from makers(source)
    else:
        yield operation


def activation_name(operation: Any) -> str:
    """Return the name of an operation's activation; `"nonetype"` if it has none."""
    activation = getattr(operation, "activation", None)
    return getattr(activation, "__name__", type(activation).__name__.lower())


def _is_sigmoid(operation: Any) -> bool:
    return type(operation).__name__ in SIGMOIDS or activation_name(operation) in SIGMOIDS


def _only_moves(operation: Any) -> bool:
    kind = type(operation).__name__
    linear = kind == "Activation" and activation_name(operation) == "linear"
    return linear or kind in (*MOVING, *PLACING)
