"""Decoding of JSON into typed records, with a check of every value."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable
from math import inf, isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from keras_cbam.errors import InputError

# JSON readers do not agree on larger integers.
LARGEST_INTEGER = 2**53


def decode(kind: Any, value: Any, where: str) -> Any:
    """Return a JSON value as a dataclass, a `NamedTuple`, a `TypedDict`, or a type of their fields.

    Args:
        kind: the type. The fields of a record are plain, optional, `tuple[X, ...]`, `list[X]`,
            `dict[str, X]`, or records again.
        value: the value from `json.loads`.
        where: name of the value in error messages.

    Raises:
        InputError: if the value has another type, misses a field, or has an unknown one.
    """
    origin, of = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        (only,) = set(of) - {NoneType}
        return None if value is None else decode(only, value, where)
    if origin in (tuple, list):
        _expect(isinstance(value, list), "a list", value, where)
        return origin(decode(of[0], each, f"{where}[{i}]") for i, each in enumerate(value))
    if origin is dict:
        _expect(isinstance(value, dict), "an object", value, where)
        return {key: decode(of[1], each, f"{where}[{short(key)}]") for key, each in value.items()}
    if kind in _PLAIN:
        name, fits = _PLAIN[kind]
        _expect(fits(value), name, value, where)
        # JSON has no numbers that are not finite. They are written as null.
        return kind(inf if value is None else value)
    return _record(kind, value, where)


def _record(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), "an object", value, where)
    types = get_type_hints(kind)
    needed = getattr(kind, "__required_keys__", None) or {
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is parameter.empty
    }
    absent, other = sorted(needed - set(value)), sorted(set(value) - set(types))
    _expect(not absent, f"an object with {', '.join(absent)}", list(value), where)
    _expect(not other, f"an object with nothing but {', '.join(types)}", other, where)
    return kind(**{key: decode(types[key], each, f"{where}.{key}") for key, each in value.items()})


def _expect(fits: bool, what: str, value: Any, where: str) -> None:
    if not fits:
        raise InputError(f"Expected {where} to be {what}. Received: {short(value)}")


def short(value: Any) -> str:
    """Return a value as short text for a sentence."""
    return reprlib.repr(value)


def _is_text(value: Any) -> bool:
    """Return whether a value is text without lone surrogates, which cannot be written."""
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


def _is_integer(value: Any) -> bool:
    fits = isinstance(value, int) and not isinstance(value, bool)
    return fits and abs(value) <= LARGEST_INTEGER


def _is_number(value: Any) -> bool:
    return value is None or _is_integer(value) or (isinstance(value, float) and isfinite(value))


# For each plain type, its name in a sentence and the check of a value.
_PLAIN: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    str: ("text", _is_text),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", _is_integer),
    float: ("a number", _is_number),
}
