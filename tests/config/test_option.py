"""Options are made once: command line, defaults and docstring agree with the dataclass."""

import inspect
import re
from dataclasses import dataclass, fields

import pytest
import typer
from typer.testing import CliRunner

from keras_cbam.cli import detect, export, shared_options
from keras_cbam.cli.options import takes
from keras_cbam.config.detection import DetectionConfig
from keras_cbam.config.export import ExportOptions
from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.config.forms import ARGUMENTS, NAMES, NUMBER_OR_NONE, PATH, SIZE
from keras_cbam.config.option import documented, option, with_default
from keras_cbam.config.study import StudyOptions

CONFIGS = [FineTuneConfig, DetectionConfig, ExportOptions, StudyOptions]


@dataclass(frozen=True, kw_only=True)
class Base:
    """What all have."""

    data: str = option("Folder.", argument=True, form=PATH)
    steps: int = option("Steps.", default=3, least=1)


@documented
@dataclass(frozen=True, kw_only=True)
class Config(Base):
    """A run.

    It has a second paragraph.
    """

    steps: int = with_default(Base, "steps", 5)
    rate: float | None = option("Rate; by default as many as `steps` in `data`.", default=None)
    names: tuple[str, ...] = option("Names.", default=("a", "b"), form=NAMES, flag="--name")
    norm: float | None = option("Norm.", default=1.5, form=NUMBER_OR_NONE)
    size: tuple[int, int] = option("Size.", default=(32, 32), form=SIZE)
    others: dict = option("Others.", default={}, form=ARGUMENTS, flag="--other")
    fast: bool = option("Fast.", default=False)


def ran(*arguments):
    """The configuration that a command gets, and its other option."""
    app, seen = typer.Typer(), []

    @app.command()
    @takes(Config)
    def work(first: int, config: Config, last: str = "z"):
        seen.append((first, config, last))

    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert bool(seen) == (result.exit_code == 0 and "--help" not in arguments)
    return seen[0] if seen else result.output


def test_defaults_are_those_of_the_dataclass():
    assert ran(7, "here/") == (7, Config(data="here"), "z")


def test_what_is_given_is_read():
    given = ["--steps", 2, "--rate", 0.5, "--name", "c,d", "--norm", 0, "--size", "8x16", "--fast"]
    more = ["--other", "alpha=0.25", "--other", "kind=wide", "--last", "y"]
    config = Config(
        data="here",
        steps=2,
        rate=0.5,
        names=("c", "d"),
        norm=None,
        size=(8, 16),
        others={"alpha": 0.25, "kind": "wide"},
        fast=True,
    )
    assert ran(1, "here", *given, *more) == (1, config, "y")
    assert ran(1, "here", "--name", "none")[1].names == ()


def test_bounds_hold():
    assert "greater than or equal to 1" in ran(1, "here", "--steps", 0)


def test_help_names_options_as_the_command_line_does():
    said = " ".join(ran("--help").replace("│", " ").split())
    assert "as many as --steps in DATA" in said
    assert "[default: a,b]" in said
    assert "[default: 32]" in said


def test_docstring_lists_every_option():
    assert Config.__doc__.startswith("A run.\n\nIt has a second paragraph.\n\nAttributes:\n")
    for field in fields(Config):
        assert f"\n    {field.name}: " in Config.__doc__
    assert "norm: Norm. `None` for none." in Config.__doc__


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_an_option_with_a_sentence(config):
    for field in fields(config):
        told = field.metadata["option"].help
        assert re.fullmatch(r"[A-Za-z].*\.", told, re.DOTALL), (field.name, told)
        named = set(re.findall(r"`(\w+)`", told))
        assert named <= {each.name for each in fields(config)}, told


def test_dictionaries_are_not_shared():
    assert Config(data="").others is not Config(data="").others


def test_defaults_that_stand_in_the_command_are_those_of_the_package():
    from keras_cbam.detection.export import FORMATS
    from keras_cbam.detection.pictures import SHOWN
    from keras_cbam.detection.report import PICTURES
    from keras_cbam.export import Limits, export_model
    from keras_cbam.export.source import datasets

    assert Limits() == (shared_options.SECONDS, shared_options.GIBIBYTES)
    assert export.CALIBRATION_IMAGES == detect.CALIBRATION_IMAGES == datasets.CALIBRATION_IMAGES
    assert (detect.FORMATS, detect.SHOWN, detect.PICTURES) == (FORMATS, SHOWN, PICTURES)
    given = inspect.signature(export_model).parameters
    for field in fields(ExportOptions):
        assert given[field.name].default == field.default
    assert shared_options.precision_names(None) is None
