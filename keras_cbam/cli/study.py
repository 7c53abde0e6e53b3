"""`keras-cbam study`: the paper's tables on your own images, and the transfer study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import counting, out, progress_bar, tell_skipped
from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.config.forms import read_arguments
from keras_cbam.config.names import SCALES, TABLES, TRANSFER_ROWS
from keras_cbam.errors import InputError

if TYPE_CHECKING:
    from keras_cbam.studies import Result, Run, TransferRun

ALL, TRANSFER = "all", "transfer"


def study(
    name: Annotated[
        str,
        typer.Argument(
            help=f"A table, one of {', '.join(TABLES)}; {ALL} for all tables; or {TRANSFER}."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with train/ and val/, or with *train*.npz and *test*.npz. For "
            f"{TRANSFER}, a folder of folders with train/ and val/ or test/."
        ),
    ],
    output: Annotated[
        Path, typer.Option(help="Directory of runs and tables, shared by all hosts.")
    ],
    scale: Annotated[
        str | None,
        typer.Option(help=f"Scale of the runs, one of {', '.join(SCALES)}; by default small."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help=f"Number of seeds, from 0 on; by default 3, for {TRANSFER} 10."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="A network instead of the scale's; repeatable, but tables 1 to 3 take one. For "
            f"{TRANSFER}, a builder of keras.applications, by default MobileNet with alpha=0.25."
        ),
    ] = None,
    backbone_option: shared.BackboneOptions = None,
    weights: Annotated[
        str | None,
        typer.Option(help=f"For {TRANSFER}: 'imagenet', the default, or a weights file."),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help=f"For {TRANSFER}: some of {','.join(TRANSFER_ROWS)}; by default all."),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Side of the images, in pixels, instead of the scale's; for {TRANSFER} 128.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per step, instead of the scale's.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Images seen in a run, in all, instead of the scale's."),
    ] = None,
    stem: Annotated[
        str | None, typer.Option(help="'imagenet' or 'cifar', instead of the scale's.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak learning rate, instead of the scale's.")
    ] = None,
    dtype_policy: Annotated[
        str | None,
        typer.Option(help="Dtype policy, such as mixed_bfloat16, instead of the scale's."),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes, each on its share of the cores.")
    ] = 1,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Seconds between two saves of the state of a run.")
    ] = 30.0,
    hosts: shared.Hosts = None,
    process_id: shared.ProcessId = None,
) -> None:
    """Rerun tables 1 to 4 of the paper, or compare ways of fine-tuning in the study transfer.

    The same command continues with the runs that are not done yet.
    """
    known = (*TABLES, ALL, TRANSFER)
    if name not in known:
        raise InputError(f"Expected studies of {', '.join(known)}. Received: {name}")
    if scale not in (None, *SCALES):
        raise InputError(f"Expected a scale of {', '.join(SCALES)}. Received: {scale}")
    if rows and not set(rows.split(",")) <= set(TRANSFER_ROWS):
        raise InputError(f"Expected rows of {', '.join(TRANSFER_ROWS)}. Received: {rows}")
    of_tables = {
        "--scale": scale,
        "--images": images,
        "--stem": stem,
        "--learning-rate": learning_rate,
        "--dtype-policy": dtype_policy,
        "--hosts": hosts,
        "--process-id": process_id,
    }
    of_transfer = {"--weights": weights, "--backbone-option": backbone_option, "--rows": rows}
    for option, value in (of_tables if name == TRANSFER else of_transfer).items():
        if value is not None:
            raise InputError(f"{option} does not go with study {name}. Received: {value}")
    start(trains=True)
    if name == TRANSFER:
        _transfer(
            data,
            output,
            seeds=range(10 if seeds is None else seeds),
            network=network,
            options=backbone_option,
            weights=weights,
            rows=rows,
            image_size=128 if image_size is None else image_size,
            batch_size=FineTuneConfig.batch_size if batch_size is None else batch_size,
            workers=workers,
            checkpoint_seconds=checkpoint_seconds,
        )
        return
    from keras_cbam.cli.epoch_progress import EpochProgress
    from keras_cbam.studies import scales
    from keras_cbam.studies import study as do_study
    from keras_cbam.training import join_processes

    processes = join_processes(hosts, process_id)
    changes: dict[str, Any] = {
        "networks": tuple(network) if network else None,
        "image_size": image_size,
        "batch_size": batch_size,
        "images": images,
        "stem": stem,
    }
    chosen = replace(
        scales.SCALES[scale or "small"], **{k: v for k, v in changes.items() if v is not None}
    )
    recipe_changes: dict[str, Any] = {"learning_rate": learning_rate, "dtype_policy": dtype_policy}
    recipe = replace(chosen.recipe, **{k: v for k, v in recipe_changes.items() if v is not None})
    with progress_bar() as bar, counting(bar, "runs done") as progress:
        tables = do_study(
            list(TABLES) if name == ALL else [name],
            data,
            output,
            replace(chosen, recipe=recipe),
            seeds=range(3 if seeds is None else seeds),
            workers=workers,
            callbacks=[EpochProgress(bar)] if processes.first else [],
            checkpoint_seconds=checkpoint_seconds,
            tell=_tell,
            tell_skipped=tell_skipped if processes.first else None,
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


def _transfer(
    data: Path,
    output: Path,
    *,
    seeds: range,
    network: list[str] | None,
    options: list[str] | None,
    weights: str | None,
    rows: str | None,
    image_size: int,
    batch_size: int,
    workers: int,
    checkpoint_seconds: float,
) -> None:
    from keras_cbam.cli.epoch_progress import EpochProgress
    from keras_cbam.studies import transfer_study

    if network and len(network) > 1:
        raise InputError(f"Expected one network for study {TRANSFER}. Received: {network}")
    config = FineTuneConfig(
        data="",
        output="",
        backbone=network[0] if network else "MobileNet",
        backbone_options={**({} if network else {"alpha": 0.25}), **read_arguments(options)},
        weights=weights or "imagenet",
        image_size=image_size,
        batch_size=batch_size,
        checkpoint_seconds=checkpoint_seconds,
    )
    with progress_bar() as bar, counting(bar, "runs done") as progress:
        table = transfer_study(
            data,
            output,
            config,
            rows=rows.split(",") if rows else TRANSFER_ROWS,
            seeds=seeds,
            workers=workers,
            callbacks=[EpochProgress(bar)],
            tell=_tell_transfer,
            progress=progress,
        )
    out.print(table.read_text(encoding="utf-8"), markup=False)
    out.print(f"written: {table}", markup=False)


def _tell_transfer(run: TransferRun, record: Mapping[str, Any]) -> None:
    from keras_cbam.studies import ROWS

    out.print(
        f"{run.dataset}, {ROWS[run.row].label}, seed {run.config.seed}: "
        f"{record['val']['accuracy']:.1%}",
        markup=False,
    )
