"""Checks of the arguments of a layer. Each error says what was expected and what was received."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import keras


def get_activation(argument: str, value: Any) -> Any:
    """Return `value` as a callable.

    Raises:
        ValueError: if it is neither a callable nor the name of a Keras activation, or if it is a
            layer, whose weights would not be saved.
    """
    try:
        found = keras.activations.get(value)
    except (TypeError, ValueError):
        found = None
    if found is None or isinstance(found, keras.layers.Layer):
        raise ValueError(
            f"Argument `{argument}` must be a function or the name of one of `keras.activations`, "
            f"such as 'relu', 'sigmoid' or 'hard_sigmoid'. Received: {argument}={value}"
        )
    return found


def validate_choice(argument: str, value: Any, known: Iterable[str]) -> None:
    """Raise ValueError unless `value` is one of `known`."""
    if not isinstance(value, str) or value not in tuple(known):
        raise ValueError(
            f"Argument `{argument}` must be one of {tuple(known)}. Received: {argument}={value}"
        )


def at_least(value: Any, smallest: int) -> bool:
    """Return whether `value` is an integer of at least `smallest`. A bool is not."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= smallest


def validate_positive(argument: str, value: Any, *, odd: bool = False) -> None:
    """Raise ValueError unless `value` is an integer of at least 1, and odd if `odd` is set."""
    if not at_least(value, 1) or (odd and value % 2 == 0):
        raise ValueError(
            f"Argument `{argument}` must be an {'odd ' if odd else ''}integer of at least 1. "
            f"Received: {argument}={value}"
        )


def validate_pooling(argument: str, value: Any, known: Iterable[str]) -> tuple[str, ...]:
    """Return `value` as a tuple of names of pools.

    Raises:
        ValueError: if it is empty, or names a pool twice or one that is not in `known`.
    """
    names = (value,) if isinstance(value, str) else value
    listed = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not listed or not names or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(
            f"Argument `{argument}` must name one or more of {tuple(known)}, each once. "
            f"Received: {argument}={value}"
        )
    return tuple(names)
