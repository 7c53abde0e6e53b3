"""Runs shared out among workers, processes and hosts alike, that see one folder."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from keras_cbam.errors import require
from keras_cbam.studies.run import RESULT, Result, Run, execute, read_result
from keras_cbam.training.image_folder import ImageFolder
from keras_cbam.training.processes import Processes

LOCK = "lock"
# Between two looks at what others are doing.
SECONDS = 1.0

# Called with a run that has just been done here, and its result.
Told = Callable[[Run, Result], None]


def work(
    runs: Sequence[Run],
    folder: ImageFolder,
    output: Path,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint_seconds: float = 30.0,
    tell: Told | None = None,
) -> None:
    """Do the runs that nobody has done, and wait for those that others are at.

    A run belongs to whoever holds the lock of its directory. The system releases it when its holder
    dies, and then the run goes on here from its last saved step.

    Args:
        runs: what is to be done.
        folder: the images.
        output: each run has a directory here, by its name.
        callbacks: Keras callbacks of the training.
        checkpoint_seconds: time between two saves.
        tell: called after each run that was done here.
    """
    require("filelock", "PIL")
    import filelock

    pending = list(runs)
    while pending:
        left = [run for run in pending if read_result(output / run.name) is None]
        for run in left:
            directory = output / run.name
            directory.mkdir(parents=True, exist_ok=True)
            try:
                with filelock.FileLock(directory / LOCK, blocking=False):
                    # It may have been done between the look and the lock.
                    if read_result(directory) is None:
                        result = execute(
                            run,
                            folder,
                            directory,
                            callbacks=callbacks,
                            checkpoint_seconds=checkpoint_seconds,
                        )
                        if tell:
                            tell(run, result)
            except filelock.Timeout:
                continue
        pending = [run for run in left if read_result(output / run.name) is None]
        if pending:
            time.sleep(SECONDS)


def work_together(
    runs: Sequence[Run],
    folder: ImageFolder,
    output: Path,
    processes: Processes,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint_seconds: float = 30.0,
    tell: Told | None = None,
) -> None:
    """Do the runs one after another, each in all processes, which share its batches.

    Args:
        runs: what is to be done.
        folder: the images.
        output: each run has a directory here, by its name; all processes see it.
        processes: what `join_processes` returns.
        callbacks: as for `work`.
        checkpoint_seconds: as for `work`.
        tell: as for `work`.
    """
    require("PIL")
    for run in runs:
        directory = output / run.name
        done = read_result(directory) is not None
        # All have looked before the first writes.
        processes.wait("result looked for")
        if done:
            continue
        result = execute(
            run,
            folder,
            directory,
            callbacks=callbacks,
            checkpoint_seconds=checkpoint_seconds,
            processes=processes,
        )
        if tell and processes.first:
            tell(run, result)


def count_done(runs: Sequence[Run], output: Path) -> int:
    """How many runs have their result."""
    return sum((output / run.name / RESULT).is_file() for run in runs)


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
    task(*arguments)
