"""What makes an output of a model."""

from __future__ import annotations

from typing import Any

import keras

SIGMOIDS = ("Sigmoid", "HardSigmoid", "sigmoid", "hard_sigmoid")
# Operations that leave values as they are, wherever they put them.
MOVING = ("Cast", "Concatenate", "Dropout", "ExpandDims", "Flatten", "GetItem", "Identity")
PLACING = ("Permute", "Reshape", "Squeeze", "Transpose")


def is_one_sigmoid(tensor: Any) -> bool:
    """Whether an output is `(batch, 1)`, of a sigmoid: one score, which tells two classes apart."""
    return len(tensor.shape) == 2 and tensor.shape[1] == 1 and ends_in_sigmoid(tensor)


def ends_in_sigmoid(tensor: Any) -> bool:
    """Whether sigmoids make an output, and what follows them only moves values.

    What makes it is looked for in nested models too.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return False
    operation, kind = history.operation, type(history.operation).__name__
    if isinstance(operation, keras.Model):
        outputs = getattr(operation, "outputs", None) or ()
        return any(map(ends_in_sigmoid, outputs[history.tensor_index :][:1]))
    activation = getattr(operation, "activation", None)
    name = getattr(activation, "__name__", type(activation).__name__)
    if kind in SIGMOIDS or name in SIGMOIDS:
        return True
    if kind in (*MOVING, *PLACING) or (kind == "Activation" and name == "linear"):
        call = operation._inbound_nodes[history.node_index]
        return all(map(ends_in_sigmoid, call.input_tensors))
    return False
