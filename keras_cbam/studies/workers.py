"""Share the runs of a study among workers: processes and hosts that see the same folder.

Both the reproduction of the paper's tables and the transfer study use it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from keras_cbam.errors import LostProcessError
from keras_cbam.files import told
from keras_cbam.text import printable
from keras_cbam.training.output import STATE_DIRECTORY
from keras_cbam.training.processes import ALONE, Processes
from keras_cbam.training.run_state import drop_state

LOCK = "lock"
# Seconds between two checks of the other workers.
SECONDS = 1.0

# The states of a run: done, done by this worker, or held by another worker.
DONE, OURS, OTHERS = range(3)


class Task(Protocol):
    """The part of a run that workers need."""

    @property
    def name(self) -> str:
        """Name of the run's directory, unique to the run."""


Run = TypeVar("Run", bound=Task)


def do_runs(
    runs: Sequence[Run],
    output: Path,
    do: Callable[..., Any],
    final_file: str,
    *,
    workers: int = 1,
    tell: Callable[[Run, Any], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes = ALONE,
) -> None:
    """Do the runs that no worker has done, and wait for the runs of other workers.

    A run belongs to the worker that holds the lock of its directory. If that worker dies, the
    system releases the lock, and another worker continues the run from its last saved step.

    Args:
        runs: the runs to do.
        output: folder of the directories of the runs.
        do: `do(run, directory=directory)` does a run in its directory, or resumes it, and returns
            its result. With several workers, `do` must be picklable.
        final_file: name of the file that a run writes last. A run whose directory has it is done.
        workers: number of processes that this call starts, each on its share of the cores. With 1,
            this process does the runs.
        tell: function that is called with each run done by this process, and its result.
        progress: function that is called with the number of finished runs and of all runs.
        processes: the result of `join_processes`, if several processes do each run together.

    Raises:
        LostProcessError: if all workers that this call started stopped before the runs were done.
    """

    def report_progress() -> int:
        """Report the progress, and return how many runs are left."""
        done = sum((output / run.name / final_file).is_file() for run in runs)
        if progress and processes.first:
            progress(done, len(runs))
        return len(runs) - done

    if workers > 1 and runs:
        _do_in_workers(workers, partial(do_runs, runs, output, do, final_file), report_progress)
        if left := report_progress():
            raise LostProcessError(
                f"All workers have stopped; {left} of {len(runs)} runs are not done. The same "
                "command continues them, once the cause is fixed."
            )
        return
    pending = list(runs)
    while pending:
        others = []
        for run in pending:
            directory = output / run.name
            with _claim(directory, final_file, processes) as found:
                if found == OTHERS:
                    others.append(run)
                if found == OURS:
                    result = do(run, directory=directory)
                    if tell and processes.first:
                        tell(run, result)
                    report_progress()
        pending = others
        if pending:
            time.sleep(SECONDS)


@contextlib.contextmanager
def _claim(directory: Path, final_file: str, processes: Processes) -> Iterator[int]:
    """Yield the state of a run. The first process checks it, and holds the lock if it is `OURS`."""
    import filelock

    with contextlib.ExitStack() as held:
        found = OTHERS
        if processes.first:
            directory.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(filelock.Timeout):
                held.enter_context(filelock.FileLock(directory / LOCK, blocking=False))
                found = DONE if (directory / final_file).is_file() else OURS
            if found == DONE:
                # The state remains if the holder was killed before its last step.
                drop_state(directory / STATE_DIRECTORY)
        yield int(processes.gather(np.array([found], "int32"))[0])


def _do_in_workers(count: int, task: Callable[[], None], watch: Callable[[], Any]) -> None:
    """Do a task in each of several workers, wait for them, and call `watch` meanwhile."""
    # A fork would copy threads and locks of Keras's backend.
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_on_cores, args=(cores, task)) for cores in _shares(count)]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            time.sleep(SECONDS)
            watch()
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _shares(count: int) -> list[set[int]]:
    """Return the cores of each worker, or one core in turn with fewer cores than workers."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not cores:
        return [set() for _ in range(count)]
    return [set(cores[index::count]) or {cores[index % len(cores)]} for index in range(count)]


def _on_cores(cores: set[int], task: Callable[[], None]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        task()
    except Exception as error:
        sentence = told(error)
        if sentence is None:
            raise
        sys.exit(f"keras-cbam: {printable(sentence, keep='')}")
