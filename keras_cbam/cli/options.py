"""The command line options of a configuration, made from its fields."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from keras_cbam.config.option import OptionField, option_fields

Command = Callable[..., None]


def takes(config: type) -> Callable[[Command], Command]:
    """Give a command an option for each field of a configuration.

    The options replace the command's parameter of that type, which receives the configuration.
    """
    fields = option_fields(config)
    names = {field.name: _flag(field) for field in fields}

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        (place,) = (index for index, each in enumerate(own) if each.annotation is config)
        receiver = own[place].name
        own[place : place + 1] = [_parameter(field, names) for field in fields]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {field.name: _read(field, given.pop(field.name)) for field in fields}
            command(**given, **{receiver: config(**values)})

        # Typer reads the options from the signature.
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def _flag(field: OptionField) -> str:
    if field.option.argument:
        return field.name.upper()
    return field.option.flag or f"--{field.name.replace('_', '-')}"


def _read(field: OptionField, value: Any) -> Any:
    return field.option.form.read(value) if field.option.form else value


def _parameter(field: OptionField, names: dict[str, str]) -> inspect.Parameter:
    told, form, default = field.option, field.option.form, field.option.default
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty
    elif form:
        default = form.write(default)
    help = re.sub(r"`(\w+)`", lambda found: names.get(found[1], found[1]), told.help)
    if told.argument:
        info = typer.Argument(metavar=names[field.name], help=help)
    else:
        text = " ".join(filter(None, (help, form and form.hint)))
        # A switch has no opposite: it is off unless given.
        declared = [names[field.name]] if told.flag or field.type is bool else []
        info = typer.Option(
            *declared, min=told.least, max=told.most, help=text, rich_help_panel=told.panel
        )
    kind = form.type if form else field.type
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )
