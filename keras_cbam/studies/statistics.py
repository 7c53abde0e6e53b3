"""What the runs of a study say, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_cbam.studies.run import Result

LEVEL = 0.95


class Interval(NamedTuple):
    """A value and the 95 % interval around it."""

    value: float
    low: float
    high: float


class Summary(NamedTuple):
    """The errors of one row over its seeds, in %.

    Attributes:
        errors: top-1 error by seed.
        mean: their mean. With several seeds the interval is Student's over these; with one it is
            Wilson's over the test images.
        deviation: their standard deviation; `None` with one seed.
        parameters: trainable parameters.
        multiply_adds: of one image.
        lost: accuracy that is lost, in points, where all attention is replaced by constants, its
            mean over the seeds; `None` where there is no attention, or it was not measured.
    """

    errors: dict[int, float]
    mean: Interval
    deviation: float | None
    parameters: int
    multiply_adds: int
    lost: float | None


class Comparison(NamedTuple):
    """A row against the baseline, pair by pair.

    Attributes:
        difference: error minus that of the baseline, in points. With several seeds the pairs are
            seeds, and the test is Student's paired one; with one seed they are test images, and it
            is McNemar's exact one.
        p_value: of a difference at least that large where there is none; `None` where all
            seeds have the same difference, of which Student's test cannot tell.
    """

    difference: Interval
    p_value: float | None


def summarize(results: Mapping[int, Result]) -> Summary:
    """Summarize a row.

    Args:
        results: by seed, at least one.
    """
    errors = {seed: 100 * (1 - result.accuracy) for seed, result in results.items()}
    first = next(iter(results.values()))
    values = np.array(list(errors.values()))
    if len(values) > 1:
        mean, deviation = students(values), float(values.std(ddof=1))
    else:
        mean, deviation = _wilson(~first.correct), None
    uses = [result.attention for result in results.values()]
    lost = [100 * (u["accuracy"] - u["replaced"]["accuracy"]) for u in uses if u]
    return Summary(
        errors,
        mean,
        deviation,
        first.parameters,
        first.multiply_adds,
        float(np.mean(lost)) if len(lost) == len(uses) else None,
    )


def compare(results: Mapping[int, Result], baseline: Mapping[int, Result]) -> Comparison:
    """Compare a row with the baseline.

    Args:
        results: by seed, at least one.
        baseline: of the same seeds, on the same test images.
    """
    from scipy import stats

    pairs = [(results[seed], baseline[seed]) for seed in results]
    if len(pairs) > 1:
        gaps = np.array([100 * (ours.accuracy - base.accuracy) for ours, base in pairs])
        difference = students(-gaps)
        # Rounding apart: an image more or less is a larger difference by far.
        if np.ptp(gaps) < 1e-9:
            return Comparison(difference, 1.0 if abs(gaps[0]) < 1e-9 else None)
        return Comparison(difference, float(stats.ttest_1samp(gaps, 0).pvalue))
    ((ours, base),) = pairs
    worse = int((base.correct & ~ours.correct).sum())
    better = int((ours.correct & ~base.correct).sum())
    count = len(ours.correct)
    value = (worse - better) / count
    spread = np.sqrt((worse + better) / count - value**2) / np.sqrt(count)
    reach = stats.norm.ppf((1 + LEVEL) / 2) * spread
    p_value = stats.binomtest(worse, worse + better).pvalue if worse + better else 1.0
    return Comparison(
        Interval(100 * value, 100 * (value - reach), 100 * (value + reach)), float(p_value)
    )


def students(values: np.ndarray) -> Interval:
    """The mean of at least two values, with Student's interval."""
    from scipy import stats

    mean, count = float(values.mean()), len(values)
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return Interval(mean, mean - float(reach), mean + float(reach))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests for their number (Holm 1979).

    Each is then the smallest level at which its hypothesis is rejected, where the chance of any
    false rejection among all of them stays within that level.
    """
    order = np.argsort(p_values, kind="stable")
    corrected, highest = np.zeros(len(order)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min((len(order) - rank) * p_values[index], 1.0))
        corrected[index] = highest
    return corrected.tolist()


def _wilson(wrong: np.ndarray) -> Interval:
    """The share of what is true, in %, with Wilson's interval."""
    from scipy import stats

    found = stats.binomtest(int(wrong.sum()), len(wrong)).proportion_ci(LEVEL, "wilson")
    return Interval(100 * float(wrong.mean()), 100 * float(found.low), 100 * float(found.high))
