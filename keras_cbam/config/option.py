"""Options are dataclass fields with a help text. They define command line and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from functools import partial
from typing import Any, NamedTuple, TypeVar, get_type_hints

from keras_cbam.config.forms import Form

T = TypeVar("T")
# Where a dataclass field keeps its `Option`.
_KEY = "option"
WIDTH = 100


class Option(NamedTuple):
    """Description of a field.

    Attributes:
        help: one or more sentences. Backticks mark the names of other fields.
        default: default of the value; `dataclasses.MISSING` if it is required.
        least: smallest number that the command line accepts.
        most: largest number that the command line accepts.
        argument: whether the command line takes the value as an argument without a name.
        form: syntax of the value on the command line.
        flag: name on the command line, such as `"--augment"`, if it differs from the field's name.
        panel: heading that lists the option in the help of the command.
    """

    help: str
    default: Any = dataclasses.MISSING
    least: float | None = None
    most: float | None = None
    argument: bool = False
    form: Form | None = None
    flag: str | None = None
    panel: str | None = None


def option(help: str, **details: Any) -> Any:
    """Return a dataclass field that is an option, from the attributes of an `Option`."""
    return _field(Option(help, **details))


# Options under a heading of the help.
image_option = partial(option, panel="Images")
network_option = partial(option, panel="Network")
training_option = partial(option, panel="Training")


def with_default(config: type, name: str, default: Any) -> Any:
    """Return the option of a parent class with another default."""
    (field,) = (field for field in dataclasses.fields(config) if field.name == name)
    return _field(field.metadata[_KEY]._replace(default=default))


def _field(told: Option) -> Any:
    if isinstance(told.default, dict):
        return dataclasses.field(default_factory=told.default.copy, metadata={_KEY: told})
    return dataclasses.field(default=told.default, metadata={_KEY: told})


class OptionField(NamedTuple):
    """A field of a configuration.

    Attributes:
        name: name of the field.
        type: type of the value.
        option: description of the field.
    """

    name: str
    type: Any
    option: Option


def option_fields(config: type) -> list[OptionField]:
    """Return the options of a configuration, in order."""
    types = get_type_hints(config)
    return [
        OptionField(each.name, types[each.name], each.metadata[_KEY])
        for each in dataclasses.fields(config)
    ]


def documented(config: type[T]) -> type[T]:
    """Add the options of a configuration to its docstring."""
    lines = ["Attributes:"]
    for name, _, told in option_fields(config):
        lines += textwrap.wrap(
            f"{name}: {told.help} {told.form.none if told.form else ''}".rstrip(),
            WIDTH - 4,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_on_hyphens=False,
        )
    config.__doc__ = "\n".join([inspect.cleandoc(config.__doc__ or ""), "", *lines])
    return config
