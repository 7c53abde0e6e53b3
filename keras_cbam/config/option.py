"""Options: dataclass fields with their help, from which command line and docstring are made."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any, NamedTuple, TypeVar, get_type_hints

from keras_cbam.config.forms import Form

T = TypeVar("T")
# Where a dataclass field keeps its `Option`.
_KEY = "option"
WIDTH = 100


class Option(NamedTuple):
    """What a field tells of itself.

    Attributes:
        help: one or more sentences. Other fields stand in backticks.
        least: the smallest number that is taken.
        most: the largest.
        argument: whether it stands on the command line without a name.
        form: how it is written there.
        flag: its name there, such as `"--augment"`, where that is not the field's.
        panel: the heading under which the command's help lists it.
    """

    help: str
    least: float | None = None
    most: float | None = None
    argument: bool = False
    form: Form | None = None
    flag: str | None = None
    panel: str | None = None


def option(help: str, *, default: Any = dataclasses.MISSING, **details: Any) -> Any:
    """A dataclass field that is an option; see `Option`. Without a default it must be given."""
    return _field(default, Option(help, **details))


def with_default(config: type, name: str, default: Any) -> Any:
    """The option of a parent class, with another default."""
    (field,) = (field for field in dataclasses.fields(config) if field.name == name)
    return _field(default, field.metadata[_KEY])


def _field(default: Any, told: Option) -> Any:
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata={_KEY: told})
    return dataclasses.field(default=default, metadata={_KEY: told})


class OptionField(NamedTuple):
    """A field of a configuration.

    Attributes:
        name: the field's.
        type: of its value.
        default: of its value; `dataclasses.MISSING` if it must be given.
        option: what it tells.
    """

    name: str
    type: Any
    default: Any
    option: Option


def option_fields(config: type) -> list[OptionField]:
    """The options of a configuration, in order."""
    types = get_type_hints(config)
    return [
        OptionField(each.name, types[each.name], _default(each), each.metadata[_KEY])
        for each in dataclasses.fields(config)
    ]


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def documented(config: type[T]) -> type[T]:
    """Add the options of a configuration to its docstring."""
    lines = ["Attributes:"]
    for name, _, _, told in option_fields(config):
        lines += textwrap.wrap(
            f"{name}: {told.help}",
            WIDTH - 4,
            initial_indent=" " * 4,
            subsequent_indent=" " * 8,
            break_on_hyphens=False,
        )
    described = textwrap.indent("\n".join(lines), " " * 4).lstrip()
    config.__doc__ = f"{(config.__doc__ or '').rstrip()}\n\n    {described}\n    "
    return config
