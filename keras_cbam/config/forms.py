"""Command-line syntax of values that are more than a word or a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keras_cbam.errors import InputError


class Form(NamedTuple):
    """Syntax of a value on the command line.

    Attributes:
        type: type of the argument that the command line parses.
        read: function from this argument to the value; raises an `InputError` if it is not valid.
        write: function from a value to the argument.
        hint: text that follows the help of the option on the command line.
        none: text that follows it in the docstring.
    """

    type: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    hint: str = ""
    none: str = ""


def read_names(text: str) -> tuple[str, ...]:
    """Return the names in `a,b`, or no names for `none`."""
    names = [name.strip() for name in text.split(",")]
    return () if names == ["none"] else tuple(filter(None, names))


def write_names(names: tuple[str, ...]) -> str:
    """Write names as `read_names` reads them."""
    return ",".join(names) or "none"


def read_arguments(pairs: list[str] | None) -> dict[str, Any]:
    """Return the arguments in `NAME=VALUE` pairs, by name; a value that is not JSON is text."""
    return dict(_read_argument(pair) for pair in pairs or ())


def _read_argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InputError(f"Expected a backbone option NAME=VALUE. Received: {text}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def read_size(text: str) -> tuple[int, int]:
    """Return height and width in pixels from `320` or `256x320`."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f"Expected an image size such as 320 or 256x320. Received: {text}")
    return int(sides[0]), int(sides[-1])


def write_size(size: tuple[int, int]) -> str:
    """Write a size as `read_size` reads it."""
    return "x".join(map(str, dict.fromkeys(size)))


PATH = Form(type=Path, read=str, write=Path)
NAMES = Form(str, read_names, write_names, hint="Names separated by commas, or none.")
SIZE = Form(str, read_size, write_size, hint="One side, or HEIGHTxWIDTH.")
ARGUMENTS = Form(
    list[str] | None,
    read_arguments,
    write=lambda arguments: None,
    hint="NAME=VALUE, such as alpha=0.25; repeatable.",
)


def _or_none(kind: type[float], meaning: str) -> Form:
    """Return the form of a number or `None`, which the command line writes as 0."""
    return Form(
        kind,
        read=lambda number: number or None,
        write=lambda number: number or kind(0),
        hint=f"0 for {meaning}.",
        none=f"`None` for {meaning}.",
    )


NUMBER_OR_NONE = _or_none(float, "none")
COUNT_OR_NONE = _or_none(int, "any")
