"""Transfer study: does attention help when a pretrained network is fine-tuned?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.config.fine_tune_defaults import default_numbers
from keras_cbam.errors import InputError, check_choice, require
from keras_cbam.files import check_writable
from keras_cbam.foreign_files import read_bounded
from keras_cbam.image_files import find_files, folders_in
from keras_cbam.schema import decode
from keras_cbam.studies.run import LARGEST, refused_if_damaged
from keras_cbam.studies.transfer_report import Outcome, read_outcomes, write_outcomes, write_report
from keras_cbam.studies.transfer_rows import ROWS
from keras_cbam.studies.workers import do_runs
from keras_cbam.training.classifier import build_classifier
from keras_cbam.training.fine_tune import fine_tune
from keras_cbam.training.fine_tune_check import check_run
from keras_cbam.training.output import REPORT
from keras_cbam.training.processes import ALONE
from keras_cbam.training.run_state import VERSION
from keras_cbam.training.split_names import by_split

RUNS = "runs"
# Attributes of a run that do not change its outcome.
INCIDENTAL = {"data", "output", "checkpoint_seconds"}


@dataclass(frozen=True)
class TransferRun:
    """One fine-tuning run of the study.

    Attributes:
        dataset: name of the folder with the images.
        row: a name in `ROWS`.
        config: configuration of the run, without its output directory.
        backend: Keras backend.
        weights: digest of the backbone's weights, or `"imagenet"`.
        images: digest of the images.
    """

    dataset: str
    row: str
    config: FineTuneConfig
    backend: str
    weights: str
    images: str

    @property
    def name(self) -> str:
        """Name of the run's directory, unique to the run."""
        found = {key: value for key, value in asdict(self.config).items() if key not in INCIDENTAL}
        found["weights"] = self.weights
        parts = [found, self.row, self.backend, self.images, VERSION, default_numbers()]
        text = json.dumps(parts, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"{self.dataset}_{self.row}_{self.config.seed}_{digest}"


def transfer_study(
    data: str | Path,
    output: str | Path,
    config: FineTuneConfig,
    *,
    rows: Sequence[str] = tuple(ROWS),
    seeds: Sequence[int] = tuple(range(10)),
    workers: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tell: Callable[[TransferRun, Mapping[str, Any]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fine-tune one backbone in many ways on many sets of images, and compare them in pairs.

    Runs are in `output/runs`, each in its own directory. All calls for the same `output`, on any
    host, share the work. A run is done once. If its process dies, another one continues it from the
    last saved step. An existing table is overwritten.

    `output/transfer.json` has the outcomes of finished runs. It is updated after each run. Runs
    that are in the file are not done again, so another host can continue with a copy of the file.

    Args:
        data: a folder of data folders, each as for `fine_tune`.
        output: directory of runs and tables.
        config: the options that all runs share, such as backbone, weights and image size.
        rows: names in `ROWS`.
        seeds: seeds of the runs. A seed sets the held-out images, the order, the crops, the dropout
            and the new weights.
        workers: number of processes that this call starts, each on its share of the cores. With 1,
            this process does the runs.
        callbacks: Keras callbacks for the runs in this process.
        tell: function that is called with each run done by this process, and the content of its
            `history.json`.
        progress: function that is called with the number of finished runs and of all runs.

    Returns:
        The path of the table, `transfer.md`. Beside it are `transfer.json` and `transfer.png`.

    Raises:
        InputError: if data, rows, seeds or the output directory cannot be used.
        LostProcessError: if all workers stopped before the runs were done.
    """
    require("PIL", "filelock", "matplotlib", "scipy")
    for name in rows:
        check_choice("rows", name, ROWS)
    if not rows or not seeds or len(set(seeds)) < len(seeds) or workers < 1:
        raise InputError(
            "Expected at least one row and one seed, different seeds, and at least one worker. "
            f"Received: rows {list(rows)}, seeds {list(seeds)}, workers {workers}"
        )
    if config.weights == "none":
        raise InputError("The study starts from a backbone with weights. Received: weights none")
    check_writable(output)
    runs = grid(Path(data), config, rows, seeds)
    place = Path(output) / RUNS
    # Refuse impossible runs here, in one sentence, before any worker starts.
    for run in {run.row: run for run in runs}.values():
        check_run(replace(run.config, output=str(output)), True, ALONE)
    build_classifier(
        config.backbone,
        2,
        weights=config.weights,
        attention="none",
        image_size=config.image_size,
        options=config.backbone_options,
    )
    # Outcomes of other seeds, rows or networks may be among them. They are kept.
    known = read_outcomes(Path(output))
    left = [run for run in runs if not _is_known(run, known)]
    written = -1

    def keep(done: int, count: int) -> None:
        nonlocal written
        if done != written:
            finished = [run for run in left if (place / run.name / REPORT).is_file()]
            known.update({run.name: _outcome(run, place / run.name) for run in finished})
            write_outcomes(known.values(), (), Path(output))
            written = done
        if progress:
            progress(len(runs) - count + done, len(runs))

    do = partial(_do, callbacks=() if workers > 1 else callbacks)
    # A run writes its report last.
    do_runs(left, place, do, REPORT, workers=workers, tell=tell, progress=keep)
    known.update({run.name: _outcome(run, place / run.name) for run in left})
    mine = [known[run.name] for run in runs]
    return write_report(mine, known.values(), config, keras.config.backend(), Path(output))


def grid(
    data: Path, config: FineTuneConfig, rows: Sequence[str], seeds: Sequence[int]
) -> list[TransferRun]:
    """Return the runs of the study, ordered by seed."""
    if not data.is_dir():
        raise InputError(f"Expected a folder of data folders. No folder at: {data}")
    inside = {data / name: by_split(folders_in(data / name)) for name in folders_in(data)}
    sets = [path for path, splits in inside.items() if "train" in splits]
    if not sets:
        raise InputError(f"Expected data folders with train/ in {data}. Found none")
    for path in sets:
        if len(inside[path]) == 1:
            raise InputError(f"Expected val/ or test/ beside train/ in {path}. Found neither")
    digests = {path: _images_digest(path) for path in sets}
    weights = Path(config.weights)
    weights_digest = _file_digest(weights) if weights.is_file() else config.weights
    return [
        TransferRun(
            path.name,
            row,
            replace(config, data=str(path), seed=seed, **ROWS[row].changes),
            keras.config.backend(),
            weights_digest,
            digests[path],
        )
        for seed in seeds
        for path in sets
        for row in rows
    ]


def _is_known(run: TransferRun, known: Mapping[str, Outcome]) -> bool:
    """Return whether the outcome of a run is known, after checking that it belongs to the run."""
    if run.name not in known:
        return False
    found, expected = known[run.name], (run.dataset, run.row, run.config.seed)
    if (found.dataset, found.row, found.seed) != expected:
        raise InputError(
            f"Expected the outcome of data set, row and seed {expected} under the name {run.name}. "
            f"Received: {(found.dataset, found.row, found.seed)}"
        )
    return True


def _do(
    run: TransferRun, directory: Path, callbacks: Sequence[keras.callbacks.Callback]
) -> Mapping[str, Any]:
    """Do a run in its directory, or resume it, and return its record."""
    config = replace(run.config, output=str(directory))
    factory = ROWS[run.row].factory
    return fine_tune(config, resume=True, callbacks=callbacks, factory=factory).record


def _outcome(run: TransferRun, directory: Path) -> Outcome:
    """Return the outcome of a finished run."""
    path = directory / "history.json"
    content = read_bounded(path, LARGEST)
    with refused_if_damaged(path):
        record = json.loads(content)
        use = record["attention"]
        outcome = {
            "run": run.name,
            "dataset": run.dataset,
            "row": run.row,
            "seed": run.config.seed,
            "accuracy": 100 * record["val"]["accuracy"],
            "without": None if use is None else 100 * use["replaced"]["accuracy"],
            "images": record["images"]["val"],
            "trained": record["trained"],
            "seconds": record["seconds"]["training"],
        }
        return decode(Outcome, outcome, "the run")


def _images_digest(folder: Path) -> str:
    """Return a digest of the images in a folder, from their names and sizes."""
    images = find_files(folder).images
    names = [f"{p.relative_to(folder).as_posix()} {p.stat().st_size}" for p in images]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
