"""`keras-cbam study`: the paper's tables on your own images, and the transfer study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.options import takes
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import counting, out, progress_bar, tell_skipped
from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.config.forms import read_arguments
from keras_cbam.config.names import SCALES, TABLES, TRANSFER_ROWS
from keras_cbam.config.study import TRANSFER, StudyOptions
from keras_cbam.errors import InputError, check_choice

if TYPE_CHECKING:
    from keras_cbam.studies import Result, Run, TransferRun

ALL = "all"
# Options that only the tables take, and those that only the transfer study takes.
OF_TABLES = ("scale", "images", "stem", "learning_rate", "dtype_policy", "hosts", "process_id")
OF_TRANSFER = ("weights", "backbone_option", "rows")


@takes(StudyOptions)
def study(
    name: Annotated[
        str,
        typer.Argument(
            help=f"A table, one of {', '.join(TABLES)}; {ALL} for all tables; or {TRANSFER}."
        ),
    ],
    options: StudyOptions,
    hosts: shared.Hosts = None,
    process_id: shared.ProcessId = None,
) -> None:
    """Rerun tables 1 to 4 of the paper, or compare ways of fine-tuning in the study transfer.

    The same command continues with the runs that are not done yet.
    """
    check_choice("studies", name, (*TABLES, ALL, TRANSFER))
    if options.scale is not None:
        check_choice("a scale", options.scale, SCALES)
    if options.rows and not set(options.rows.split(",")) <= set(TRANSFER_ROWS):
        raise InputError(f"Expected rows of {', '.join(TRANSFER_ROWS)}. Received: {options.rows}")
    given = {**vars(options), "hosts": hosts, "process_id": process_id}
    for field in OF_TABLES if name == TRANSFER else OF_TRANSFER:
        if given[field] is not None:
            raise InputError(
                f"--{field.replace('_', '-')} does not go with study {name}. "
                f"Received: {given[field]}"
            )
    start(trains=True)
    if name == TRANSFER:
        written = [_transfer(options)]
    else:
        written = _tables(list(TABLES) if name == ALL else [name], options, hosts, process_id)
    for table in written:
        out.print(table.read_text(encoding="utf-8"))
        out.print(f"written: {table}")


def _tables(
    names: Sequence[str], options: StudyOptions, hosts: str | None, process_id: int | None
) -> list[Path]:
    """Do the runs of tables of the paper, and return the files of the tables."""
    from keras_cbam.cli.epoch_progress import EpochProgress
    from keras_cbam.studies import scales
    from keras_cbam.studies import study as do_study
    from keras_cbam.training import join_processes

    processes = join_processes(hosts, process_id)
    scale = scales.SCALES[options.scale or "small"]
    changes = _given(options, "image_size", "batch_size", "images", "stem")
    if options.network:
        changes["networks"] = tuple(options.network)
    recipe = replace(scale.recipe, **_given(options, "learning_rate", "dtype_policy"))
    with progress_bar() as bar, counting(bar, "runs done") as progress:
        return do_study(
            names,
            options.data,
            options.output,
            replace(scale, recipe=recipe, **changes),
            seeds=range(options.seeds or 3),
            workers=options.workers,
            callbacks=[EpochProgress(bar)] if processes.first else [],
            checkpoint_seconds=options.checkpoint_seconds,
            tell=_tell,
            tell_skipped=tell_skipped if processes.first else None,
            progress=progress,
            processes=processes,
        )


def _given(options: StudyOptions, *names: str) -> dict[str, Any]:
    """Return those of the named options that have a value."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _tell(run: Run, result: Result) -> None:
    out.print(
        f"{run.network} {run.attention} seed {run.seed}: {100 * (1 - result.accuracy):.2f} % error "
        f"({result.seconds:.0f} s)"
    )
    if result.attention:
        out.print(result.attention["sentence"], highlight=False)


def _transfer(options: StudyOptions) -> Path:
    """Do the runs of the transfer study, and return the file of its table."""
    from keras_cbam.cli.epoch_progress import EpochProgress
    from keras_cbam.studies import transfer_study

    network = options.network or ["MobileNet"]
    if len(network) > 1:
        raise InputError(f"Expected one network for study {TRANSFER}. Received: {network}")
    usual = {} if options.network else {"alpha": 0.25}
    config = FineTuneConfig(
        data="",
        output="",
        backbone=network[0],
        backbone_options={**usual, **read_arguments(options.backbone_option)},
        weights=options.weights or "imagenet",
        image_size=options.image_size or 128,
        checkpoint_seconds=options.checkpoint_seconds,
        **_given(options, "batch_size"),
    )
    with progress_bar() as bar, counting(bar, "runs done") as progress:
        return transfer_study(
            options.data,
            options.output,
            config,
            rows=options.rows.split(",") if options.rows else TRANSFER_ROWS,
            seeds=range(options.seeds or 10),
            workers=options.workers,
            callbacks=[EpochProgress(bar)],
            tell=_tell_transfer,
            progress=progress,
        )


def _tell_transfer(run: TransferRun, record: Mapping[str, Any]) -> None:
    from keras_cbam.studies import ROWS

    out.print(
        f"{run.dataset}, {ROWS[run.row].label}, seed {run.config.seed}: "
        f"{record['val']['accuracy']:.1%}"
    )
