"""Reproduction of the paper's tables: the table and the plot of a study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_cbam.files import atomic_path, write_text
from keras_cbam.studies.run import Result
from keras_cbam.studies.statistics import LEVEL, Comparison, Interval, Summary, compare, summarize
from keras_cbam.studies.tables import Study, published

HEADER = (
    "| network | attention | top-1 error | std | difference to the first | p | parameters "
    "| multiply-adds | without it | paper |\n|---|---|---|---|---|---|---|---|---|---|\n"
)


class Line(NamedTuple):
    """A row of a study's table, for one network.

    Attributes:
        network: name of the network.
        label: name of the row in the paper.
        summary: the errors of the row.
        comparison: comparison with the first row; `None` for the first row.
        published: error on ImageNet in the paper, in %; `None` if the paper has none.
    """

    network: str
    label: str
    summary: Summary
    comparison: Comparison | None
    published: float | None


def lines(
    study: Study, networks: Sequence[str], results: Mapping[tuple[str, str], Mapping[int, Result]]
) -> list[Line]:
    """Return the rows of a study.

    Args:
        study: the study.
        networks: the networks of the study.
        results: results by network and attention, then by seed.
    """
    found = []
    for network in networks:
        baseline = results[network, study.rows[0].attention]
        for row in study.rows:
            ours = results[network, row.attention]
            compared = None if row is study.rows[0] else compare(ours, baseline)
            paper = published(study, row, network)
            found.append(Line(network, row.label, summarize(ours), compared, paper))
    return found


def markdown(study: Study, found: Sequence[Line], about: Sequence[str]) -> str:
    """Return the table, with the settings above it and notes on its figures below it."""
    several = found[0].summary.deviation is not None
    pairs = "seeds, tested by Student's paired t" if several else "images, tested by McNemar"
    one = "" if several else " With one seed that is of two trained networks: others may differ."
    notes = [
        f"- Error in % of the test images told wrong, in brackets its 95 % interval, "
        f"{'over seeds (Student)' if several else 'over images (Wilson)'}; difference in points "
        f"over pairs of {pairs}, not corrected for the number of comparisons.{one}",
        "- Without it: errors added, in points, where every gate is replaced by its mean over "
        "images and places, on 2,000 of the test images at most. Attention that adds nothing there "
        "is not used.",
        "- The paper's column is the error on ImageNet, of ResNet50 unless it is of the network "
        "named: another task, of which the order of rows can be compared, not the values.",
    ]
    rows = "".join(f"| {' | '.join(_cells(line))} |\n" for line in found)
    said = "".join(f"- {line}\n" for line in (*about, *verdicts(found)))
    return f"# {study.title}\n\n{said}\n{HEADER}{rows}\n" + "\n".join(notes) + "\n"


def verdicts(found: Sequence[Line]) -> list[str]:
    """Return in words what the comparisons show, within the limits of their intervals and tests."""
    said = []
    for network in dict.fromkeys(line.network for line in found):
        first, *others = (line for line in found if line.network == network)
        shown = [line for line in others if line.comparison and _differs(line.comparison)]
        for line in shown:
            fewer = line.summary.mean.value < first.summary.mean.value
            words = f"{network}, {line.label}: {'fewer' if fewer else 'more'} errors than the first"
            if line.summary.deviation is None:
                words += ", with this one seed"
            if line.published is not None and first.published is not None:
                agrees = (line.published < first.published) == fewer
                words += "" if agrees else ", against the paper"
            said.append(words)
        if not shown:
            said.append(f"{network}: no row is shown to differ from the first")
    return said


def _differs(comparison: Comparison) -> bool:
    (_, low, high), p_value = comparison
    return (high < 0 or low > 0) and p_value is not None and p_value < 1 - LEVEL


def draw(study: Study, found: Sequence[Line], path: Path) -> None:
    """Draw the error of each row: a dot per seed, and a bar for the mean and its interval."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(line.network for line in found))
    figure = Figure(
        figsize=(8, 1.2 + 0.42 * len(found) + 0.3 * len(networks)), layout="constrained"
    )
    parts = figure.subplots(len(networks), 1, squeeze=False)[:, 0]
    for axes, network in zip(parts, networks, strict=True):
        rows = [line for line in found if line.network == network]
        for place, line in enumerate(reversed(rows)):
            mean = line.summary.mean
            errors = list(line.summary.errors.values())
            axes.plot([mean.low, mean.high], [place] * 2, color="C0", linewidth=5, alpha=0.3)
            axes.plot(errors, [place] * len(errors), "o", color="C0", markersize=4, alpha=0.7)
            axes.plot(mean.value, place, "|", color="black", markersize=12)
        axes.axvline(rows[0].summary.mean.value, color="0.6", linestyle="--", linewidth=1)
        axes.set_yticks(range(len(rows)), [line.label for line in reversed(rows)])
        axes.set(ylim=(-0.6, len(rows) - 0.4), title=network)
    several = found[0].summary.deviation is not None
    bars = "interval of the mean" if several else "Wilson's interval"
    parts[-1].set_xlabel(f"top-1 error, % (dots: seeds; bars: 95 % {bars})")
    figure.suptitle(study.title)
    figure.savefig(path, dpi=110)


def write(study: Study, name: str, found: Sequence[Line], about: Sequence[str], to: Path) -> None:
    """Write `<name>.png`, `<name>.json` and finally `<name>.md`."""
    with atomic_path(to / f"{name}.png") as path:
        draw(study, found, path)
    rows: list[Any] = [
        {
            "network": line.network,
            "row": line.label,
            **line.summary._asdict(),
            "mean": line.summary.mean._asdict(),
            "difference": line.comparison and line.comparison.difference._asdict(),
            "p_value": line.comparison and line.comparison.p_value,
            "published": line.published,
        }
        for line in found
    ]
    text = json.dumps({"title": study.title, "about": list(about), "rows": rows}, indent=1)
    write_text(to / f"{name}.json", f"{text}\n")
    write_text(to / f"{name}.md", markdown(study, found, about))


def _cells(line: Line) -> tuple[str, ...]:
    summary, lost = line.summary, line.summary.lost_without_attention
    p_value = line.comparison and line.comparison.p_value
    return (
        line.network,
        line.label,
        _interval(summary.mean),
        "-" if summary.deviation is None else f"{summary.deviation:.2f}",
        "-" if line.comparison is None else _interval(line.comparison.difference, "+"),
        "-" if p_value is None else f"{p_value:.3f}",
        f"{summary.parameters:,}",
        f"{summary.multiply_adds / 1e6:.2f}M",
        "-" if lost is None else f"{lost:+.2f}",
        "-" if line.published is None else f"{line.published:.2f}",
    )


def _interval(interval: Interval, sign: str = "") -> str:
    value, low, high = (f"{number:{sign}.2f}" for number in interval)
    return f"{value} ({low} to {high})"
