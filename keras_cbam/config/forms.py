"""How values that are more than a word or a number are written on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keras_cbam.errors import InputError


class Form(NamedTuple):
    """How a value is written on the command line, where it is not simply itself.

    Attributes:
        type: what the command line takes.
        read: from that to the value; it raises an `InputError` for what is no such value.
        write: from a value to that.
        hint: what the command line's help tells beside the option's own.
    """

    type: Any
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    hint: str = ""


def read_names(text: str) -> tuple[str, ...]:
    """The names in `a,b`; none in `none`."""
    return () if text == "none" else tuple(text.split(","))


def write_names(names: tuple[str, ...]) -> str:
    """Write names as `read_names` reads them."""
    return ",".join(names) or "none"


def read_arguments(pairs: list[str] | None) -> dict[str, Any]:
    """The arguments in `NAME=VALUE`, by name; a value that is no JSON is text."""
    return dict(_read_argument(pair) for pair in pairs or ())


def _read_argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"Expected a backbone option NAME=VALUE. Received: {text}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def read_size(text: str) -> tuple[int, int]:
    """Height and width in pixels, in `320` or `256x320`."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise InputError(f"Expected an image size such as 320 or 256x320. Received: {text}")
    return int(sides[0]), int(sides[-1])


def write_size(size: tuple[int, int]) -> str:
    """Write a size as `read_size` reads it."""
    return "x".join(map(str, dict.fromkeys(size)))


PATH = Form(Path, str, Path)
NAMES = Form(str, read_names, write_names, "Names with commas between them, or none.")
SIZE = Form(str, read_size, write_size, "A side, or HEIGHTxWIDTH.")
ARGUMENTS = Form(
    list[str] | None,
    read_arguments,
    lambda arguments: None,
    "NAME=VALUE, such as alpha=0.25; repeatable.",
)
NUMBER_OR_NONE = Form(
    float, lambda number: number or None, lambda number: number or 0.0, "0 for none."
)
COUNT_OR_NONE = Form(int, lambda count: count or None, lambda count: count or 0, "0 for any.")
