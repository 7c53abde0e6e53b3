"""`keras-cbam verify`: an export verified again, on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_cbam.cli.artifact_table import show
from keras_cbam.cli.terminal import out
from keras_cbam.export import verify as verify_export


def verify(
    directory: Annotated[Path, typer.Argument(help="What keras-cbam export wrote.")],
) -> None:
    """Verify the artifacts of an export again, in the runtimes of this machine."""
    with out.status("verifying") as status:
        report = verify_export(directory, progress=status.update)
    show(report)
    if report.missed:
        raise typer.Exit(1)
