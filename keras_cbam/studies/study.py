"""Reproduction of the paper's tables: do the missing runs, then write the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras

from keras_cbam.errors import InputError, require
from keras_cbam.files import check_writable
from keras_cbam.studies.grid import check_scale, grid, networks, read_images
from keras_cbam.studies.networks import build_network
from keras_cbam.studies.report import lines, write
from keras_cbam.studies.run import RESULT, Result, Run, execute, read_result
from keras_cbam.studies.scales import Scale
from keras_cbam.studies.tables import STUDIES
from keras_cbam.studies.workers import do_runs
from keras_cbam.training.image_folder import ImageFolder
from keras_cbam.training.processes import ALONE, Processes

RUNS = "runs"


def study(
    names: Sequence[str],
    data: str | Path,
    output: str | Path,
    scale: Scale,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    workers: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint_seconds: float = 30.0,
    tell: Callable[[Run, Result], None] | None = None,
    tell_skipped: Callable[[Sequence[Path]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes = ALONE,
) -> list[Path]:
    """Do the missing runs of studies, and write their tables and plots.

    Runs are in `output/runs`, each in its own directory. All calls for the same `output`, on any
    host, share the work. A run is done once. If its process dies, another one continues it from the
    last saved step.

    Args:
        names: names in `STUDIES`.
        data: a folder with `train/` and `val/`, each with one folder per class; or a folder with
            one `*train*.npz` and one `*test*.npz`, as `read_image_archive` reads them.
        output: directory of runs and tables.
        scale: networks, images and budget.
        seeds: seeds of the runs.
        workers: number of processes that this call starts, each on its share of the cores. With 1,
            this process does the runs.
        callbacks: Keras callbacks for the runs in this process.
        checkpoint_seconds: seconds between two saves of the state of a run.
        tell: function that is called with each run done by this process, and its result.
        tell_skipped: function that is called with the images that are skipped because they cannot
            be decoded.
        progress: function that is called with the number of finished runs and of all runs.
        processes: the result of `join_processes`, if several processes train each run together.

    Returns:
        The paths of the tables, one Markdown file per name.

    Raises:
        InputError: if names, data, scale or the output directory cannot be used.
        LostProcessError: if another process is gone, or if all workers stopped before the runs were
            done.
    """
    require("PIL", "filelock", "matplotlib", "scipy")
    unknown = [name for name in names if name not in STUDIES]
    if unknown or not names:
        raise InputError(f"Expected studies of {', '.join(STUDIES)}. Received: {unknown}")
    if not seeds or len(set(seeds)) < len(seeds) or workers < 1:
        raise InputError(
            "Expected at least one seed, different seeds, and at least one worker. "
            f"Received: seeds {list(seeds)}, workers {workers}"
        )
    if workers > 1 and processes.count > 1:
        raise InputError("Expected one worker where several processes do each run together.")
    check_scale(scale)
    check_writable(output)
    folder = read_images(Path(data))
    if tell_skipped:
        tell_skipped(folder.skipped)
    runs = grid(names, scale, seeds, folder)
    for network in dict.fromkeys(run.network for run in runs):
        # Refuse a network that cannot be built here, in one sentence, before any worker starts.
        build_network(
            network, "none", len(folder.classes), image_size=scale.image_size, stem=scale.stem
        )
    do = partial(
        execute,
        folder=folder,
        callbacks=() if workers > 1 else callbacks,
        checkpoint_seconds=checkpoint_seconds,
        processes=processes,
    )
    do_runs(
        runs,
        Path(output) / RUNS,
        do,
        RESULT,
        workers=workers,
        tell=tell,
        progress=progress,
        processes=processes,
    )
    tables = _report(names, scale, runs, folder, Path(output)) if processes.first else []
    processes.wait("tables written")
    return tables


def _report(
    names: Sequence[str], scale: Scale, runs: Sequence[Run], folder: ImageFolder, output: Path
) -> list[Path]:
    results: dict[tuple[str, str], dict[int, Result]] = {}
    for run in runs:
        result = read_result(output / RUNS / run.name)
        results.setdefault((run.network, run.attention), {})[run.seed] = result
    first = runs[0]
    seeds = sorted({run.seed for run in runs})
    about = [
        f"{len(folder.train):,} training and {len(folder.val):,} test images of "
        f"{len(folder.classes)} classes, {first.image_size}x{first.image_size} pixels",
        f"{first.epochs} epochs of batches of {first.batch_size} from random weights, the last "
        f"weights scored once; seeds {', '.join(map(str, seeds))}; Keras on {first.backend}",
        f"recipe: {', '.join(f'{k} {v}' for k, v in vars(first.recipe).items())}; "
        f"augmentations {', '.join(first.augmentations)}; stem {first.stem}",
    ]
    for name in names:
        found = lines(STUDIES[name], networks(STUDIES[name], scale), results)
        write(STUDIES[name], name, found, about, output)
    return [output / f"{name}.md" for name in names]
