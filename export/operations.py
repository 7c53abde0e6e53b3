"""Which Keras layer an operation of a converted graph is of, by the name TensorFlow gave it."""

from __future__ import annotations

import re
from collections.abc import Iterable


def belongs(operation: str, layer: str) -> bool:
    """Whether an operation is of a layer, or of what is in it.

    TensorFlow appends a number to the scope of a layer that is traced again.
    """
    return _place(operation, layer) is not None


def layer_of(operation: str, layers: Iterable[str]) -> str:
    """The layer that an operation is of, of several fused the one named first; or its own name."""
    if operation.startswith("StatefulPartitionedCall"):
        return "output"  # which TensorFlow names after the call of the whole signature
    found = [(place, layer) for layer in layers if (place := _place(operation, layer)) is not None]
    return min(found)[1] if found else operation


def _place(operation: str, layer: str) -> int | None:
    found = re.search(rf"(^|[/;]){re.escape(layer)}(_\d+)?/", operation)
    return None if found is None else found.start()
