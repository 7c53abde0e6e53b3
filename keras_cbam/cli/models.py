"""`keras-cbam models`: the paper's networks, their costs, and the figures in the paper."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from keras_cbam.cli import shared_options as shared
from keras_cbam.cli.start import start
from keras_cbam.cli.terminal import errors, print_markdown, progress_bar
from keras_cbam.config.names import NETWORKS, TABULATED_ATTENTIONS
from keras_cbam.errors import InputError

if TYPE_CHECKING:
    from keras_cbam.models.catalogue import Entry

COLUMNS = (
    *("network", "attention", "parameters", "multiply-adds"),
    *("paper: parameters", "GFLOPs", "top-1 error", "top-5 error"),
)


def models(
    networks: Annotated[
        list[str] | None, typer.Argument(help=f"Networks of {', '.join(NETWORKS)}; by default all.")
    ] = None,
    attention: Annotated[str, typer.Option(help="Attentions, separated by commas.")] = ",".join(
        TABULATED_ATTENTIONS
    ),
    as_json: shared.AsJson = False,
) -> None:
    """List the paper's networks with parameters, multiply-adds at 224x224 and printed figures."""
    start()
    variants = networks or list(NETWORKS)
    names = attention.split(",")
    for what, given, known in (
        ("networks", variants, NETWORKS),
        ("attentions", names, TABULATED_ATTENTIONS),
    ):
        if not set(given) <= set(known):
            raise InputError(f"Expected {what} of {', '.join(known)}. Received: {','.join(given)}")
    from keras_cbam.models.catalogue import catalogue

    attentions = [None if name == "none" else name for name in names]
    entries = []
    with progress_bar(errors) as bar:
        task = bar.add_task("networks", total=len(variants) * len(attentions), note="")
        for entry in catalogue(variants, attentions):
            entries.append(entry)
            bar.update(task, advance=1, note=entry.network)
        bar.remove_task(task)
    if as_json:
        rows = [
            {**e._asdict(), "published": e.published and e.published._asdict()} for e in entries
        ]
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_markdown(COLUMNS, map(cells, entries))


def cells(entry: Entry) -> tuple[str, ...]:
    """Return the cells of an entry's row."""
    paper = ("-",) * 4
    if entry.published:
        parameters, multiply_adds, top1, top5 = entry.published
        paper = (f"{parameters:.2f}M", f"{multiply_adds:.3f}", f"{top1:.2f}", f"{top5:.2f}")
    return (
        entry.network,
        entry.attention or "none",
        f"{entry.parameters:,}",
        f"{entry.multiply_adds / 1e9:.3f}G",
        *paper,
    )
