"""Further arguments of a backbone's builder, as NAME=VALUE on the command line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from keras_cbam.errors import InputError

BackboneOptions = Annotated[
    list[str] | None,
    typer.Option(help="A further argument of the builder, such as alpha=0.25; repeatable."),
]


def parse(options: list[str] | None) -> dict[str, Any]:
    """Return the arguments by name; what is no JSON value is text."""
    return dict(_parse(text) for text in options or ())


def _parse(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"Expected a backbone option NAME=VALUE. Received: {text}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
