"""The tables of an export or a verification on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from keras_cbam.cli.terminal import out
from keras_cbam.export import Report
from keras_cbam.export.report import COLUMNS, DELEGATION_COLUMNS

REPORT_HELP = "Tell where the operations run and what falls back, and write report.md."
# What is left out of a terminal of fewer columns than `WIDE`, and out of any: the name tells it.
ROOMY, TOLD = "size", "precision"
WIDE = 96


def show(report: Report) -> None:
    """Print the table of artifacts and what was noted."""
    left_out = {TOLD} if out.width >= WIDE else {TOLD, ROOMY}
    kept = [index for index, column in enumerate(COLUMNS) if column not in left_out]
    _print(
        f"compared with Keras on {report.images} inputs",
        [COLUMNS[index] for index in kept],
        [[row[index] for index in kept] for row in report.rows()],
    )
    for remark in report.remarks():
        out.print(remark, markup=False, highlight=False)
    if report.delegations:
        _print("where the operations run", DELEGATION_COLUMNS, report.delegations)


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index < 2)
    for row in rows:
        table.add_row(*row)
    out.print(table)
