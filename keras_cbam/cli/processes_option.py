"""The options of commands that several processes can run together, on one host or on many."""

from __future__ import annotations

from typing import Annotated

import typer

Hosts = Annotated[
    str | None,
    typer.Option(
        help="host:port of each process, separated by commas. All of them run this command, on "
        "JAX. Defaults to KERAS_DISTRIBUTION_JOB_ADDRESSES."
    ),
]
ProcessId = Annotated[
    int | None,
    typer.Option(
        min=0, help="Index of this process, from 0. Defaults to KERAS_DISTRIBUTION_PROCESS_ID."
    ),
]
