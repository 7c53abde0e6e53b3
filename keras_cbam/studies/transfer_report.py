"""Transfer study: the table and the forest plot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_cbam.config.fine_tune import FineTuneConfig
from keras_cbam.errors import InputError, refused
from keras_cbam.files import atomic_path, write_text
from keras_cbam.foreign_files import read_json
from keras_cbam.schema import decode
from keras_cbam.studies.statistics import LEVEL, Interval, holm, paired_test, students
from keras_cbam.studies.transfer_rows import ROWS
from keras_cbam.text import as_markdown

RESULTS = "transfer.json"
# Largest size of that file, in bytes.
LARGEST = 2**28
# Name of the mean over all sets.
ALL = "all sets"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run.

    Attributes:
        run: name of the run's directory.
        dataset: name of the set of images.
        row: a name in `ROWS`.
        seed: seed of the run.
        accuracy: accuracy on the images that are scored once, in %.
        without: the same accuracy with all gates replaced by their means; `None` without attention.
        images: number of scored images.
        trained: number of trained weights.
        seconds: training time of the last process that worked on the run.
    """

    run: str
    dataset: str
    row: str
    seed: int
    accuracy: float
    without: float | None
    images: int
    trained: int
    seconds: float


class Difference(NamedTuple):
    """The comparison of a row with one of its baselines, on one set or on all sets.

    Attributes:
        row: name of the row.
        baseline: name of the baseline.
        dataset: name of the set, or `ALL`.
        interval: mean difference of accuracy over pairs of seeds, in points, with its 95 % interval
            (Student). For all sets, a pair is a mean over the sets.
        p_value: p-value of Student's paired test with Holm's correction. The correction counts the
            comparisons for all sets, and comparisons times sets for single sets.
    """

    row: str
    baseline: str
    dataset: str
    interval: Interval
    p_value: float

    @property
    def shown(self) -> bool:
        """Whether the corrected test shows a difference."""
        return self.p_value < 1 - LEVEL


Accuracies = Mapping[tuple[str, str], Mapping[int, float]]


def accuracies(outcomes: Sequence[Outcome]) -> dict[tuple[str, str], dict[int, float]]:
    """Return the accuracy in % by row and set, then by seed; `ALL` has the mean over the sets."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.row, outcome.dataset), {})[outcome.seed] = outcome.accuracy
    sets = list(dict.fromkeys(outcome.dataset for outcome in outcomes))
    for row in dict.fromkeys(outcome.row for outcome in outcomes):
        each = [found[row, name] for name in sets]
        found[row, ALL] = {seed: float(np.mean([one[seed] for one in each])) for seed in each[0]}
    return found


def differences(by_row: Accuracies) -> list[Difference]:
    """Compare each row with its baselines, on each set and on all sets, if it has several seeds."""
    found: list[Difference] = []
    pairs = [
        (row, baseline, dataset, by_row[baseline, dataset])
        for row, dataset in by_row
        for baseline in ROWS[row].baselines
        if (baseline, dataset) in by_row
    ]
    for row, baseline, dataset, base in pairs:
        gaps = np.array([value - base[seed] for seed, value in by_row[row, dataset].items()])
        if len(gaps) > 1:
            # If all gaps are equal but not 0, the limit of the p-value is 0.
            p_value = paired_test(gaps)
            p_value = 0.0 if p_value is None else p_value
            found.append(Difference(row, baseline, dataset, students(gaps), p_value))
    for pooled in (True, False):
        family = [index for index, each in enumerate(found) if (each.dataset == ALL) == pooled]
        corrected = holm([found[index].p_value for index in family])
        for index, p_value in zip(family, corrected, strict=True):
            found[index] = found[index]._replace(p_value=p_value)
    return found


def markdown(
    outcomes: Sequence[Outcome], found: Sequence[Difference], config: FineTuneConfig, backend: str
) -> str:
    """Return the tables, with the settings above them and notes on the figures below them."""
    by_row = accuracies(outcomes)
    rows = list(dict.fromkeys(outcome.row for outcome in outcomes))
    sets = [*dict.fromkeys(outcome.dataset for outcome in outcomes), ALL]
    seeds = sorted({outcome.seed for outcome in outcomes})
    options = "".join(f", {key}={value}" for key, value in config.backbone_options.items())
    lines = [
        "# Does attention help in fine-tuning?",
        "",
        *(f"- {verdict}" for verdict in verdicts(found)),
        f"- {config.backbone}{options} at {config.image_size}x{config.image_size}; seeds "
        f"{', '.join(map(str, seeds))}; Keras on {backend}",
        "",
        *(("![differences with their intervals](transfer.png)", "") if found else ()),
        "## Accuracy in %, mean of the seeds",
        "",
        f"| row | {' | '.join(map(as_markdown, sets))} | without attention | weights trained "
        "| training, minutes |",
        "|---" * (len(sets) + 4) + "|",
    ]
    for row in rows:
        mine = [outcome for outcome in outcomes if outcome.row == row]
        lost = [each.accuracy - each.without for each in mine if each.without is not None]
        cells = [
            ROWS[row].label,
            *(f"{np.mean(list(by_row[row, name].values())):.1f}" for name in sets),
            f"{-np.mean(lost):+.1f}" if lost else "-",
            f"{np.median([each.trained for each in mine]):,.0f}",
            f"{np.median([each.seconds for each in mine]) / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if found:
        lines += [
            "",
            "## Differences in points, by pairs of seeds",
            "",
            "| row | against | set | difference (95 % interval) | p, corrected |",
            "|---|---|---|---|---|",
        ]
    order = [*rows, *sets]
    for each in sorted(found, key=lambda each: [order.index(name) for name in each[:3]]):
        value, low, high = each.interval
        p_value = "< 0.001" if each.p_value < 0.001 else f"{each.p_value:.3f}"
        lines.append(
            f"| {ROWS[each.row].label} | {ROWS[each.baseline].label} "
            f"| {as_markdown(each.dataset)} | {value:+.1f} ({low:+.1f} to {high:+.1f}) "
            f"| {p_value} |"
        )
    lines += [
        "",
        "- Intervals and tests are Student's, over pairs of seeds. Intervals are not corrected for "
        "their number; p-values are, by Holm, those of all sets among themselves. They tell what "
        "other seeds would give, with the same images; nothing of other images or sets.",
        "- Without attention: how accuracy changes, in points, where every gate is replaced by its "
        "mean over images and places.",
        "- Training: the median over sets and seeds, by the clock of whoever did it. Of a run that "
        "was cut off, the time after its last start.",
    ]
    return "\n".join(lines) + "\n"


def verdicts(found: Sequence[Difference]) -> list[str]:
    """Return in words what the comparisons over all sets show, within the limits of their tests."""
    said = []
    for each in found:
        if each.dataset != ALL:
            continue
        value, low, high = each.interval
        word = "no difference is shown"
        if each.shown:
            word = "better" if value > 0 else "worse"
        said.append(
            f"{ROWS[each.row].label}, against {ROWS[each.baseline].label}: {word}, "
            f"{value:+.1f} points ({low:+.1f} to {high:+.1f}) over all sets"
        )
    return said or ["one seed: nothing can be said of differences"]


def draw(found: Sequence[Difference], path: Path) -> None:
    """Draw a forest plot: a panel per comparison, a line per set, and the mean of all sets."""
    from matplotlib.figure import Figure

    compared = list(dict.fromkeys((each.row, each.baseline) for each in found))
    sets = list(dict.fromkeys(each.dataset for each in found))
    columns = min(len(compared), 4)
    lines = -(-len(compared) // columns)
    figure = Figure(
        figsize=(2 + 2.6 * columns, 0.6 + lines * (1 + 0.28 * len(sets))), layout="constrained"
    )
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(compared) :]:
        axes.set_visible(False)
    for (row, baseline), axes in zip(compared, panels.flat, strict=False):
        axes.axvline(0, color="0.6", linewidth=1)
        for each in found:
            if (each.row, each.baseline) == (row, baseline):
                place, pooled = -sets.index(each.dataset), each.dataset == ALL
                color = "C3" if pooled else "C0"
                axes.plot(each.interval[1:], [place] * 2, color=color, linewidth=2)
                axes.plot(each.interval.value, place, "D" if pooled else "o", color=color)
        axes.set_title(f"{ROWS[row].label}\nagainst {ROWS[baseline].label}", fontsize=9)
        axes.set_yticks([-place for place in range(len(sets))], sets)
        axes.set_ylim(0.6 - len(sets), 0.6)
        axes.xaxis.set_tick_params(labelbottom=True)
    figure.supxlabel("difference of accuracy, points (bars: 95 % intervals over seeds)", fontsize=9)
    figure.savefig(path, dpi=110)


def write_report(
    outcomes: Sequence[Outcome],
    kept: Iterable[Outcome],
    config: FineTuneConfig,
    backend: str,
    output: Path,
) -> Path:
    """Write `transfer.png`, `transfer.json` and finally `transfer.md`, and return its path.

    Args:
        outcomes: the outcomes to compare.
        kept: all outcomes for `transfer.json`.
        config: the options that all runs share.
        backend: Keras backend.
        output: directory of the files.
    """
    found = differences(accuracies(outcomes))
    if found:
        with atomic_path(output / "transfer.png") as path:
            draw(found, path)
    write_outcomes(kept, found, output)
    write_text(output / "transfer.md", markdown(outcomes, found, config, backend))
    return output / "transfer.md"


def write_outcomes(outcomes: Iterable[Outcome], found: Sequence[Difference], output: Path) -> None:
    """Write `transfer.json`, with one line per run and one per difference."""
    parts = {
        "outcomes": [asdict(outcome) for outcome in outcomes],
        "differences": [each._asdict() for each in found],
    }
    texts = []
    for name, rows in parts.items():
        lines = ",\n".join(json.dumps(row) for row in rows)
        texts.append(f'"{name}": [\n{lines}\n]')
    write_text(output / RESULTS, "{\n" + ",\n".join(texts) + "\n}\n")


def read_outcomes(output: Path) -> dict[str, Outcome]:
    """Return the outcomes in `transfer.json` by the names of their runs, or none without a file."""
    path = output / RESULTS
    if not path.exists():
        return {}
    what = f"{path} is not the result of a study; remove it to do all runs. "
    with refused(what, only=(InputError,), told=str):
        record = decode(dict[str, Any], read_json(path, LARGEST), "the file")
        found = decode(list[Outcome], record.get("outcomes"), "outcomes")
        if not np.isfinite([each.accuracy for each in found]).all():
            raise InputError("Expected accuracies that are numbers.")
    return {outcome.run: outcome for outcome in found}
