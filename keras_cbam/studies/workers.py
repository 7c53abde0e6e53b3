"""Runs shared out among workers, processes and hosts alike, that see one folder."""

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
# Between two looks at what others are doing.
SECONDS = 1.0

# Whose a run is.
DONE, OURS, OTHERS = range(3)


class Task(Protocol):
    """A run as workers see it."""

    @property
    def name(self) -> str:
        """What its directory is called: the same for the same run, and for no other."""


Run = TypeVar("Run", bound=Task)
# Whether the run in a directory is done.
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
    """Do the runs that nobody has done, and wait for those that others are at.

    A run belongs to whoever holds the lock of its directory. The system releases it when its holder
    dies, and then the run goes on here from its last saved step.

    Args:
        runs: what is to be done.
        output: each run has a directory here, by its name.
        do: does a run in its directory, from where it was cut off if it was, and returns what came
            of it.
        done: whether the run in a directory is done.
        tell: called with each run that was done here, and with what came of it.
        processes: what `join_processes` returns, where several do each run together.
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
    """Yield whose a run is: the first process looks, and holds the lock if it is ours."""
    import filelock

    with contextlib.ExitStack() as held:
        found = OTHERS
        if processes.first:
            directory.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(filelock.Timeout):
                held.enter_context(filelock.FileLock(directory / LOCK, blocking=False))
                found = DONE if done(directory) else OURS
            if found == DONE:
                # Left there if its holder was killed before its last step.
                drop_state(directory / STATE_DIRECTORY)
        yield int(processes.gather(np.array([found], "int32"))[0])


def count_done(runs: Sequence[Task], output: Path, done: Done) -> int:
    """How many runs are done."""
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
        runs: what is to be done.
        output: as for `work`.
        done: as for `work`.
        count: how many workers.
        task: what each does; a function of a module, with arguments that can be pickled.
        arguments: its arguments.
        progress: called with the number of runs that are done, and of all.

    Raises:
        LostProcessError: if all workers have stopped before the runs were done.
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
            "continues them, once what stopped the workers is mended."
        )


class Workers:
    """Processes that do the runs of a folder, each on cores of its own.

    Args:
        count: how many.
        task: what each does; a function of a module, with arguments that can be pickled.
        arguments: its arguments.
    """

    def __init__(self, count: int, task: Callable[..., None], *arguments: object):
        # A fork would take threads and locks of Keras's backend along.
        context = multiprocessing.get_context("spawn")
        self.processes = [
            context.Process(target=_on_cores, args=(cores, task, *arguments))
            for cores in _shares(count)
        ]
        for process in self.processes:
            process.start()

    @property
    def working(self) -> bool:
        """Whether any is still at work."""
        return any(process.is_alive() for process in self.processes)

    def stop(self) -> None:
        """Stop them all, and wait until they have stopped."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()


def _shares(count: int) -> list[set[int]]:
    """The cores of each worker; where there are fewer cores than workers, one for each in turn."""
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
