"""Which Keras layer an operation of a converted graph is of, by the name TensorFlow gave it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from keras_cbam.errors import InputError

# What a user wrote, where Keras makes it of operations of other names.
WRITTEN = {("Bitcast", "BitwiseAnd"): "keras.ops.argmax, argmin or signbit"}


def as_written(kinds: str) -> str:
    """Kinds of operations in words, and what a user wrote where Keras makes them of that."""
    names = set(re.findall(r"\w+", kinds))
    found = [written for made, written in WRITTEN.items() if names.intersection(made)]
    return f"{kinds} (of {'; '.join(found)})" if found else kinds


def owners(operation: str, layers: Iterable[str]) -> list[list[str]]:
    """The layers that an operation is in, the outermost first; a list for each of those it fuses.

    TensorFlow numbers the scope of a layer, `conv_1` for `conv`; one without a number counts where
    none has one.
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
    """The innermost layer that an operation is of, of several fused that of the first.

    Its own name if it is of none.
    """
    found = owners(operation, layers)
    return found[0][-1] if found else operation


def operations_of(
    chosen: Iterable[str], layers: Iterable[str], operations: Iterable[str]
) -> list[str]:
    """The operations of the chosen of the layers.

    Raises:
        InputError: if there is none of one of them.
    """
    inside = {operation: owners(operation, layers) for operation in operations}
    found = []
    for layer in chosen:
        of_it = [
            operation
            for operation, fused in inside.items()
            if any(layer in names for names in fused)
        ]
        if not of_it:
            raise InputError(
                f"Expected float_layers of layers that compute something. Received: {layer}"
            )
        found += of_it
    return found
