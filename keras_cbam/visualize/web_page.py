"""A report as one self-contained HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; font-size: 0.9rem; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: 0.3rem 0.8rem 0.3rem 0; text-align: left }
img { max-width: 100% } code { background: #f3f3f3; padding: 0 0.2rem }
"""


class WebPage:
    """A page of headings, paragraphs, tables and pictures, in the order in which they are added.

    Args:
        title: title and first heading of the page.
    """

    def __init__(self, title: str):
        self.title = title
        self.parts: list[str] = []

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        self.parts.append(f"<table><tr>{head}</tr>{body}</table>")

    def picture(self, path: Path, description: str) -> None:
        """Add a PNG picture, embedded into the page."""
        data = base64.b64encode(path.read_bytes()).decode()
        alt = html.escape(description, quote=True)
        self.parts.append(f'<img src="data:image/png;base64,{data}" alt="{alt}">')

    def write(self, path: Path) -> None:
        """Write the page."""
        title = html.escape(self.title)
        page = (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{STYLE}</style></head><body><h1>{title}</h1>{''.join(self.parts)}</body></html>"
        )
        path.write_text(page, encoding="utf-8")
