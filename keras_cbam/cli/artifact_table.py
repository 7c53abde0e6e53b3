"""The table of an export or a verification on the terminal."""

from __future__ import annotations

from rich.table import Table

from keras_cbam.cli.terminal import out
from keras_cbam.export import Report
from keras_cbam.export.report import COLUMNS


def show(report: Report) -> None:
    """Print the table of artifacts and what was noted."""
    table = Table(*COLUMNS, title=f"compared with Keras on {report.images} inputs")
    for row in report.rows():
        table.add_row(*row)
    out.print(table)
    for remark in report.remarks():
        out.print(remark, markup=False, highlight=False)
