"""`keras-cbam verify`: verify an export again, on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.cli.artifact_options import REPORT_HELP, RUNTIMES_HELP, runtime_names
from keras_cbam.cli.limits_option import GIBIBYTES, SECONDS, MemoryLimit, TimeLimit
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out


def verify(
    directory: Annotated[Path, typer.Argument(help="Directory that keras-cbam export wrote.")],
    runtimes: Annotated[str | None, typer.Option(help=RUNTIMES_HELP)] = None,
    report: Annotated[bool, typer.Option("--report", help=REPORT_HELP)] = False,
    time_limit: TimeLimit = SECONDS,
    memory_limit: MemoryLimit = GIBIBYTES,
) -> None:
    """Verify the artifacts of an export again, in the runtimes of this machine."""
    start()
    from keras_cbam.cli.artifact_table import show
    from keras_cbam.export import Limits
    from keras_cbam.export import verify as verify_export

    with out.status("verifying") as status:
        found = verify_export(
            directory,
            runtimes=runtime_names(runtimes),
            write_report=report,
            limits=Limits(time_limit, memory_limit),
            progress=status.update,
        )
    show(found)
    if found.missed:
        raise typer.Exit(1)
