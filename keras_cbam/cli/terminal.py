"""The terminal output that the commands share: messages, errors, progress bars."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box, progress
from rich.console import Console
from rich.progress import Progress, Task
from rich.table import Column, Table
from rich.text import Text

from keras_cbam.image_files import FORMATS
from keras_cbam.text import printable

# The largest number of lines of one kind that are printed.
NAMED = 20
# The least width of a table in Markdown, in characters.
WIDTH = 120


class SafeConsole(Console):
    """A console that escapes control sequences in the names of files and classes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render text as rich does, with control characters as escapes."""
        return super().render_str(printable(text), **options)


# Names of files and classes are text, not markup.
out = SafeConsole(markup=False)
errors = SafeConsole(markup=False, stderr=True, soft_wrap=True)


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


class _Told(progress.ProgressColumn):
    """A column of text of a task, which may be the name of a file."""

    def __init__(self, told: Callable[[Task], str]):
        super().__init__(table_column=Column(no_wrap=True))
        self.told = told

    def render(self, task: Task) -> Text:
        return one_line(self.told(task))


def progress_bar(console: Console = out, *, disable: bool = False) -> Progress:
    """Return a progress bar with counts and times, which is not shown if it is disabled."""
    return Progress(
        _Told(lambda task: task.description),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        _Told(lambda task: task.fields["note"]),
        console=console,
        disable=disable,
    )


def tell_skipped(paths: Sequence[str | Path], console: Console = errors) -> None:
    """Print the number of images that are left out, and the names of the first."""
    if not paths:
        return
    console.print(
        f"left out, since they cannot be decoded as {', '.join(FORMATS)}: {len(paths)} files",
        highlight=False,
    )
    tell_first("  ", [str(path) for path in paths], console)


def tell_first(before: str, lines: Sequence[str], console: Console = errors) -> None:
    """Print the first of possibly many lines, each after the same text."""
    for line in lines[:NAMED]:
        console.print(f"{before}{printable(line, keep='')}", highlight=False)
    if len(lines) > NAMED:
        console.print(f"{before}and {len(lines) - NAMED} more", highlight=False)


def table_of(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int, **style: Any
) -> Table:
    """Return a table in a style of rich. The columns after the first `text_columns` are numbers."""
    table = Table(**style)
    for index, column in enumerate(columns):
        table.add_column(
            column, justify="left" if index < text_columns else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(one_line, row))
    return table


def print_markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table in Markdown. The columns after the second are numbers."""
    # Markdown needs each row on one line, whatever the width of the terminal.
    console = SafeConsole(width=max(out.width, WIDTH))
    console.print(table_of(columns, rows, text_columns=2, box=box.MARKDOWN))


@contextmanager
def counting(bar: Progress, description: str) -> Iterator:
    """Yield a function of (done, total) that updates a progress bar."""
    task = bar.add_task(description, total=None, note="")

    def update(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    yield update
    bar.stop_task(task)
