"""`keras-cbam study`: the paper's tables on images of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from keras_cbam.cli.processes_option import Hosts, ProcessId
from keras_cbam.cli.terminal import EpochProgress, counting, out, progress_bar
from keras_cbam.errors import InputError
from keras_cbam.studies import SCALES, STUDIES, Result, Run
from keras_cbam.studies import study as do_study
from keras_cbam.training import join_processes

ALL = "all"


def study(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(STUDIES)}; or {ALL}.")],
    data: Annotated[
        Path, typer.Option(help="Folder with train/ and val/, or with *train*.npz and *test*.npz.")
    ],
    output: Annotated[Path, typer.Option(help="Directory of runs and tables, which hosts share.")],
    scale: Annotated[str, typer.Option(help=f"How large, of {', '.join(SCALES)}.")] = "small",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0 on.")] = 3,
    network: Annotated[
        list[str] | None,
        typer.Option(help="A network instead of the scale's; repeatable, tables 1 to 3 take one."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Side of the images instead of the scale's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images a step instead of the scale's.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Budget of a run, in images seen, instead of the scale's."),
    ] = None,
    stem: Annotated[
        str | None, typer.Option(help="'imagenet' or 'cifar', instead of the scale's.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate instead of the scale's.")
    ] = None,
    dtype_policy: Annotated[
        str | None, typer.Option(help="Such as mixed_bfloat16, instead of the scale's.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes, each on its share of the cores.")
    ] = 1,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between two saves of the state of a run.")
    ] = 30.0,
    hosts: Hosts = None,
    process_id: ProcessId = None,
) -> None:
    """Rerun tables 1 to 4 of the paper; the same command goes on with what is not done yet."""
    processes = join_processes(hosts, process_id)
    if scale not in SCALES:
        raise InputError(f"Expected a scale of {', '.join(SCALES)}. Received: {scale}")
    changes: dict[str, Any] = {
        "networks": tuple(network) if network else None,
        "image_size": image_size,
        "batch_size": batch_size,
        "images": images,
        "stem": stem,
    }
    chosen = replace(SCALES[scale], **{k: v for k, v in changes.items() if v is not None})
    recipe_changes: dict[str, Any] = {"learning_rate": learning_rate, "dtype_policy": dtype_policy}
    recipe = replace(chosen.recipe, **{k: v for k, v in recipe_changes.items() if v is not None})
    with progress_bar() as bar, counting(bar, "runs done") as progress:
        tables = do_study(
            list(STUDIES) if name == ALL else [name],
            data,
            output,
            replace(chosen, recipe=recipe),
            seeds=range(seeds),
            workers=workers,
            callbacks=[EpochProgress(bar)] if processes.first else [],
            checkpoint_seconds=checkpoint_seconds,
            tell=_tell,
            progress=progress,
            processes=processes,
        )
    for table in tables:
        out.print(table.read_text(encoding="utf-8"), markup=False)
        out.print(f"written: {table}", markup=False)


def _tell(run: Run, result: Result) -> None:
    out.print(
        f"{run.network} {run.attention} seed {run.seed}: {100 * (1 - result.accuracy):.2f} % error "
        f"({result.seconds:.0f} s)",
        markup=False,
    )
    if result.attention:
        out.print(result.attention["sentence"], markup=False, highlight=False)
