"""`keras-cbam benchmark`: compare the run time of files in one export, or in two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import out, print_markdown

if TYPE_CHECKING:
    from keras_cbam.export.timing import Timing

COLUMNS = ("artifact", "beside", "time, minimum", "time, median", "milliseconds")


def benchmark(
    directory: shared.Exported,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Another export to compare with, such as that of the network without attention; "
            "by default each file is compared with the first of its runtime."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that each runtime may use.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Number of runs of each file.")] = 30,
    time_limit: shared.TimeLimit = shared.SECONDS,
    memory_limit: shared.MemoryLimit = shared.GIBIBYTES,
) -> None:
    """Time TFLite files in LiteRT and ONNX files in onnxruntime, in turn, on one input."""
    start()
    from keras_cbam.export import Limits
    from keras_cbam.export.timing import time_artifacts

    with out.status("timing"):
        limits = Limits(time_limit, memory_limit)
        found = time_artifacts(directory, against, threads=threads, runs=runs, limits=limits)
    print_markdown(COLUMNS, map(_cells, found))


def _cells(timing: Timing) -> tuple[str, ...]:
    ratios = (f"x {ratio:.3f}" for ratio in (timing.minimum, timing.median))
    return (timing.name, timing.base, *ratios, f"{timing.milliseconds:.2f}")
