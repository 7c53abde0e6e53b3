"""The options of commands that run files which somebody else may have made."""

from __future__ import annotations

from typing import Annotated

import typer

TimeLimit = Annotated[
    float, typer.Option(min=1, help="Seconds after which a process that runs these files is ended.")
]
MemoryLimit = Annotated[
    float, typer.Option(min=0.5, help="GiB of memory that it may use, on Linux.")
]
# As `export.Limits` has them.
SECONDS, GIBIBYTES = 600.0, 8.0
