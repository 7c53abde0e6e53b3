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
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from keras_cbam.errors import LostProcessError, require
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
# A function that returns whether the run in a directory is done.
Done = Callable[[Path], bool]


def work(
    runs: Sequence[Run],
    output: Path,
    do: Callable[[Run, Path], Any],
    done: Done,
    *,
    tell: Callable[[Run, Any], None] | None = None,
    processes: Processes = ALONE,
) -> None:
    """Do the runs that no worker has done, and wait for the runs of other workers.

    A run belongs to the worker that holds the lock of its directory. If that worker dies, the
    system releases the lock, and this worker continues the run from its last saved step.

    Args:
        runs: the runs to do.
        output: folder of the directories of the runs.
        do: function that does a run in its directory, or resumes it, and returns its result.
        done: function that returns whether the run in a directory is done.
        tell: function that is called with each run done by this worker, and its result.
        processes: the result of `join_processes`, if several processes do each run together.
    """
    require("filelock", "PIL")
    pending = list(runs)
    while pending:
        left = []
        for run in pending:
            directory = output / run.name
            with _claim(directory, done, processes) as found:
                if found == OTHERS:
                    left.append(run)
                if found == OURS:
                    result = do(run, directory)
                    if tell and processes.first:
                        tell(run, result)
        pending = left
        if pending:
            time.sleep(SECONDS)


@contextlib.contextmanager
def _claim(directory: Path, done: Done, processes: Processes) -> Iterator[int]:
    """Yield the state of a run. The first process checks it, and holds the lock if it is `OURS`."""
    import filelock

    with contextlib.ExitStack() as held:
        found = OTHERS
        if processes.first:
            directory.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(filelock.Timeout):
                held.enter_context(filelock.FileLock(directory / LOCK, blocking=False))
                found = DONE if done(directory) else OURS
            if found == DONE:
                # The state remains if the holder was killed before its last step.
                drop_state(directory / STATE_DIRECTORY)
        yield int(processes.gather(np.array([found], "int32"))[0])


def count_done(runs: Sequence[Task], output: Path, done: Done) -> int:
    """Return how many runs are done."""
    return sum(done(output / run.name) for run in runs)


def do_in_workers(
    runs: Sequence[Task],
    output: Path,
    done: Done,
    count: int,
    task: Callable[..., None],
    *arguments: object,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Start workers, and wait until the runs are done.

    Args:
        runs: the runs to do.
        output: as for `work`.
        done: as for `work`.
        count: number of workers.
        task: function that each worker calls. It must be a function of a module, and its arguments
            must be picklable.
        *arguments: arguments of `task`.
        progress: function that is called with the number of finished runs and of all runs.

    Raises:
        LostProcessError: if all workers stopped before the runs were done.
    """
    workers = Workers(count, task, *arguments)
    try:
        while workers.working:
            time.sleep(SECONDS)
            if progress:
                progress(count_done(runs, output, done), len(runs))
    finally:
        workers.stop()
    left = len(runs) - count_done(runs, output, done)
    if left:
        raise LostProcessError(
            f"All workers have stopped; {left} of {len(runs)} runs are not done. The same command "
            "continues them, once the cause is fixed."
        )


class Workers:
    """Processes that do the runs of a folder, each on its own cores.

    Args:
        count: number of processes.
        task: function that each process calls. It must be a function of a module, and its arguments
            must be picklable.
        *arguments: arguments of `task`.
    """

    def __init__(self, count: int, task: Callable[..., None], *arguments: object):
        # A fork would copy threads and locks of Keras's backend.
        context = multiprocessing.get_context("spawn")
        self.processes = [
            context.Process(target=_on_cores, args=(cores, task, *arguments))
            for cores in _shares(count)
        ]
        for process in self.processes:
            process.start()

    @property
    def working(self) -> bool:
        """Whether any process is still working."""
        return any(process.is_alive() for process in self.processes)

    def stop(self) -> None:
        """Stop all processes, and wait until they have stopped."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()


def _shares(count: int) -> list[set[int]]:
    """Return the cores of each worker, or one core in turn with fewer cores than workers."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not cores:
        return [set() for _ in range(count)]
    return [set(cores[index::count]) or {cores[index % len(cores)]} for index in range(count)]


def _on_cores(cores: set[int], task: Callable[..., None], *arguments: object) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        task(*arguments)
    except Exception as error:
        sentence = told(error)
        if sentence is None:
            raise
        sys.exit(f"keras-cbam: {printable(sentence, keep='')}")
