"""The terminal output that the commands share: messages, errors, progress bars."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from keras_cbam.image_files import FORMATS
from keras_cbam.text import printable

# The largest number of left-out files whose names are printed.
NAMED = 20


class SafeConsole(Console):
    """A console that escapes control sequences in the names of files and classes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render text as rich does, with control characters as escapes."""
        return super().render_str(printable(text), **options)


out = SafeConsole()
errors = SafeConsole(stderr=True, soft_wrap=True)


def one_line(text: str) -> Text:
    """Return untrusted text as it is: no markup, and control characters as escapes."""
    return Text(printable(text, keep=""))


def prepare_streams() -> None:
    """Make the output streams accept any text, with any terminal and without one."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The parent process closed the stream.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def flush_output() -> str | None:
    """Write the remaining output; return a sentence if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise, Python would try again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"Cannot write to standard output: {error.strerror}."
    return None


class _Told(ProgressColumn):
    """A column of text of a task, which may be the name of a file."""

    def __init__(self, told: Callable[[Task], str]):
        super().__init__(table_column=Column(no_wrap=True))
        self.told = told

    def render(self, task: Task) -> Text:
        return one_line(self.told(task))


def progress_bar(console: Console = out) -> Progress:
    """Return a progress bar with counts and times."""
    return Progress(
        _Told(lambda task: task.description),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _Told(lambda task: task.fields["note"]),
        console=console,
    )


def tell_skipped(paths: Sequence[str | Path], console: Console = errors) -> None:
    """Print the number of images that are left out, and the names of the first."""
    if not paths:
        return
    console.print(
        f"left out, since they cannot be decoded as {', '.join(FORMATS)}: {len(paths)} files",
        markup=False,
        highlight=False,
    )
    for path in paths[:NAMED]:
        console.print(f"  {printable(str(path), keep='')}", markup=False, highlight=False)
    if len(paths) > NAMED:
        console.print(f"  and {len(paths) - NAMED} more", highlight=False)


@contextmanager
def counting(bar: Progress, description: str) -> Iterator:
    """Yield a function of (done, total) that updates a progress bar."""
    task = bar.add_task(description, total=None, note="")

    def update(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    yield update
    bar.stop_task(task)
