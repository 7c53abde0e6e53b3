"""Finds the Keras layer of an operation in a converted graph, by the name of the operation."""

from __future__ import annotations

import re
from collections.abc import Iterable

from keras_cbam.errors import InputError

# Functions that a user calls, by the TensorFlow operations that Keras makes from them.
WRITTEN = {("Bitcast", "BitwiseAnd"): "keras.ops.argmax, argmin or signbit"}


def as_written(kinds: str) -> str:
    """Add to a text of operation kinds the Keras functions that they come from, if known."""
    names = set(re.findall(r"\w+", kinds))
    found = [written for made, written in WRITTEN.items() if names.intersection(made)]
    return f"{kinds} (of {'; '.join(found)})" if found else kinds


def owners(operation: str, layers: Iterable[str]) -> list[list[str]]:
    """Return the layers that contain an operation, the outermost first.

    An operation that was fused from several has one list of layers for each of them. TensorFlow
    numbers the scope of a layer, such as `conv_1` for `conv`. Scopes without a number count only if
    no numbered scope is a layer.
    """
    known = set(layers)
    found = []
    for part in operation.split(";"):
        scopes = part.split("/")[:-1]
        numbered = [re.sub(r"_\d+$", "", scope) for scope in scopes if re.search(r"_\d+$", scope)]
        of_it = [name for name in numbered if name in known]
        found.append(of_it or [name for name in scopes if name in known])
    return [names for names in found if names]


def layer_of(operation: str, layers: Iterable[str]) -> str:
    """Return the innermost layer of an operation, or the operation's name if there is none.

    For a fused operation, the layer of the first part is returned.
    """
    found = owners(operation, layers)
    return found[0][-1] if found else operation


def operations_of(
    chosen: Iterable[str], layers: Iterable[str], operations: Iterable[str]
) -> list[str]:
    """Return the operations of the chosen layers.

    Args:
        chosen: names of the chosen layers.
        layers: names of all layers of the model.
        operations: names of the operations.

    Raises:
        InputError: if a chosen layer has no operation.
    """
    inside = {
        operation: {name for names in owners(operation, layers) for name in names}
        for operation in operations
    }
    found = []
    for layer in chosen:
        of_it = [operation for operation, names in inside.items() if layer in names]
        if not of_it:
            raise InputError(
                f"Expected float_layers of layers that compute something. Received: {layer}"
            )
        found += of_it
    return found
