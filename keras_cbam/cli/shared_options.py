"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.config.forms import ARGUMENTS
from keras_cbam.config.names import FURTHER_RUNTIMES, PIXEL_RULES, PRECISIONS

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BackboneOptions = Annotated[
    list[str] | None, typer.Option(help=f"A further argument of the builder. {ARGUMENTS.hint}")
]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the interrupted run in OUTPUT.")]

# For commands that take images.
Images = Annotated[list[Path], typer.Argument(help="Images, and folders of images.")]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        help="Preprocessing of RGB pixels in 0..255 that the network expects: its builder's name "
        f"in keras.applications, or {', '.join(PIXEL_RULES)}; by default none."
    ),
]

# For commands that write or verify artifacts.
Artifacts = Annotated[
    Path, typer.Option(help="Directory of the artifacts; those of an earlier export are replaced.")
]
Exported = Annotated[Path, typer.Argument(help="Directory that keras-cbam export wrote.")]
Precisions = Annotated[
    str | None,
    typer.Option(
        help=f"Precisions, separated by commas: {', '.join(PRECISIONS)}, or all; by default "
        "float32, and int8 if calibrated."
    ),
]
WriteReport = Annotated[
    bool,
    typer.Option(
        "--report", help="Show where the operations run and which fall back, and write report.md."
    ),
]
Runtimes = Annotated[
    str | None,
    typer.Option(
        help=f"Further runtimes to verify in, separated by commas: {', '.join(FURTHER_RUNTIMES)}, "
        "or none; by default those installed."
    ),
]

# For commands that run files that somebody else may have made, with the defaults of
# `export.Limits`.
TimeLimit = Annotated[
    float,
    typer.Option(min=1, help="Seconds after which a process that runs these files is stopped."),
]
MemoryLimit = Annotated[
    float, typer.Option(min=0.5, help="GiB of memory that such a process may use, on Linux.")
]
SECONDS, GIBIBYTES = 600.0, 8.0

# For commands that several processes can run together, on one host or on many.
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


def precision_names(given: str | None) -> tuple[str, ...] | None:
    """Return the precisions in an option, separated by commas, or all; `None` for the default."""
    if given is None:
        return None
    return PRECISIONS if given == "all" else tuple(given.split(","))


def runtime_names(given: str | None) -> tuple[str, ...] | None:
    """Return the runtimes in an option, separated by commas; `None` means those installed."""
    if given is None:
        return None
    return () if given == "none" else tuple(given.split(","))
