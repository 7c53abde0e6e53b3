"""The options of commands that several processes, on one host or on many, can do together."""

from __future__ import annotations

from typing import Annotated

import typer

Hosts = Annotated[
    str | None,
    typer.Option(
        help="host:port of each process, with commas between them; all run this command, on JAX. "
        "Or KERAS_DISTRIBUTION_JOB_ADDRESSES."
    ),
]
ProcessId = Annotated[
    int | None,
    typer.Option(min=0, help="Which of them this is, from 0. Or KERAS_DISTRIBUTION_PROCESS_ID."),
]
