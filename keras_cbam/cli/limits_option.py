"""The options of commands that run files that somebody else may have made."""

from __future__ import annotations

from typing import Annotated

import typer

TimeLimit = Annotated[
    float,
    typer.Option(min=1, help="Seconds after which a process that runs these files is stopped."),
]
MemoryLimit = Annotated[
    float, typer.Option(min=0.5, help="GiB of memory that such a process may use, on Linux.")
]
# The defaults of `export.Limits`.
SECONDS, GIBIBYTES = 600.0, 8.0
