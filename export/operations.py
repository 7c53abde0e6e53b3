"""Which Keras layer an operation of a converted graph is of, by the name TensorFlow gave it."""

from __future__ import annotations

import re
from collections.abc import Iterable


def belongs(operation: str, layer: str) -> bool:
    """Whether an operation is of a layer, or of what is in it.

    TensorFlow appends a number to the scope of a layer that is traced again.
    """
    return re.search(rf"(^|[/;]){re.escape(layer)}(_\d+)?/", operation) is not None


def layer_of(operation: str, layers: Iterable[str]) -> str:
    """The first of the layers that an operation is of; its own name if it is of none."""
    return next((layer for layer in layers if belongs(operation, layer)), operation)
