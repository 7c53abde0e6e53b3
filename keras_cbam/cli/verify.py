"""`keras-cbam verify`: verify an export again, on another machine."""

from __future__ import annotations

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out


def verify(
    directory: shared.Exported,
    runtimes: shared.Runtimes = None,
    report: shared.WriteReport = False,
    time_limit: shared.TimeLimit = shared.SECONDS,
    memory_limit: shared.MemoryLimit = shared.GIBIBYTES,
) -> None:
    """Verify the artifacts of an export again, in the runtimes of this machine."""
    start()
    from keras_cbam.cli.artifact_table import show
    from keras_cbam.export import Limits
    from keras_cbam.export import verify as verify_export

    with out.status("verifying") as status:
        found = verify_export(
            directory,
            runtimes=shared.runtime_names(runtimes),
            write_report=report,
            limits=Limits(time_limit, memory_limit),
            progress=status.update,
        )
    show(found)
    if found.missed:
        raise typer.Exit(1)
