"""The tables of an export or a verification on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich import box

from keras_cbam.cli.terminal import errors, out, table_of
from keras_cbam.export import Report, VerificationError
from keras_cbam.export.proof.report import COLUMNS, DELEGATION_COLUMNS

# The style of the tables, for rich.
STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "show_edge": False}
# The smallest terminal width at which a column is shown. The file name tells the precision, too.
NARROWEST = {"size": 96, "precision": 120}


@contextmanager
def misses_shown() -> Iterator[None]:
    """Print the table and end with exit code 1 if an export misses its tolerances."""
    try:
        yield
    except VerificationError as error:
        show(error.report)
        errors.print(f"keras-cbam: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error


def show(report: Report) -> None:
    """Print the table of artifacts and the remarks."""
    kept = [i for i, column in enumerate(COLUMNS) if out.width >= NARROWEST.get(column, 0)]
    print_table(
        f"compared with Keras on {report.images} inputs",
        [COLUMNS[index].replace(" ", "\n") for index in kept],
        [[row[index] for index in kept] for row in report.rows()],
    )
    for remark in report.remarks():
        out.print(remark, highlight=False)
    if report.delegations:
        print_table("where the operations run", DELEGATION_COLUMNS, report.delegations)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table."""
    out.print(table_of(columns, rows, text_columns=len(columns), title=title, **STYLE))
