"""The option for further arguments of a backbone's builder."""

from __future__ import annotations

from typing import Annotated

import typer

from keras_cbam.config.forms import ARGUMENTS

BackboneOptions = Annotated[
    list[str] | None, typer.Option(help=f"A further argument of the builder. {ARGUMENTS.hint}")
]
