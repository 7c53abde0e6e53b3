"""Statistics of studies: means, differences, intervals and tests.

Both the reproduction of the paper's tables and the transfer study use them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_cbam.studies.run import Result

LEVEL = 0.95


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class Summary(NamedTuple):
    """The errors of one row over its seeds, in %.

    Attributes:
        errors: top-1 error by seed.
        mean: mean of the errors. With several seeds the interval is Student's interval over the
            seeds; with one seed it is Wilson's interval over the test images.
        deviation: standard deviation of the errors; `None` with one seed.
        parameters: number of trainable parameters.
        multiply_adds: number of multiply-adds per image.
        lost_without_attention: loss of accuracy, in points, when constants replace all attention,
            averaged over the seeds; `None` without attention, or if it was not measured.
    """

    errors: dict[int, float]
    mean: Interval
    deviation: float | None
    parameters: int
    multiply_adds: int
    lost_without_attention: float | None


class Comparison(NamedTuple):
    """A paired comparison of a row with the baseline.

    Attributes:
        difference: error of the row minus error of the baseline, in points. With several seeds, the
            pairs are seeds and the test is Student's paired test. With one seed, the pairs are test
            images and the test is McNemar's exact test.
        p_value: probability of a difference at least this large if there is none; `None` if all
            seeds have the same difference other than 0, for which Student's test is undefined.
    """

    difference: Interval
    p_value: float | None


def summarize(results: Mapping[int, Result]) -> Summary:
    """Return the summary of a row.

    Args:
        results: results by seed, at least one.
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
    """Return the comparison of a row with the baseline.

    Args:
        results: results by seed, at least one.
        baseline: results of the same seeds on the same test images.
    """
    from scipy import stats

    pairs = [(results[seed], baseline[seed]) for seed in results]
    if len(pairs) > 1:
        gaps = np.array([100 * (base.accuracy - ours.accuracy) for ours, base in pairs])
        return Comparison(students(gaps), paired_test(gaps))
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
    """Return the mean of at least two values with Student's interval."""
    from scipy import stats

    mean, count = float(values.mean()), len(values)
    reach = stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return Interval(mean, mean - float(reach), mean + float(reach))


def paired_test(gaps: np.ndarray) -> float | None:
    """Return the p-value of Student's paired test for the differences of at least two pairs.

    It is `None` if all differences are equal but not 0, for which the test is undefined.
    """
    from scipy import stats

    # Equal up to rounding: a single image makes a far larger difference.
    if np.ptp(gaps) < 1e-9:
        return 1.0 if abs(gaps[0]) < 1e-9 else None
    return float(stats.ttest_1samp(gaps, 0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, corrected for their number (Holm 1979).

    A corrected p-value is the smallest level at which its hypothesis is rejected, if the chance of
    any false rejection among all tests must stay within that level.
    """
    order = np.argsort(p_values, kind="stable")
    corrected, highest = np.zeros(len(order)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min((len(order) - rank) * p_values[index], 1.0))
        corrected[index] = highest
    return corrected.tolist()


def _wilson(wrong: np.ndarray) -> Interval:
    """Return the share of true values, in %, with Wilson's interval."""
    from scipy import stats

    found = stats.binomtest(int(wrong.sum()), len(wrong)).proportion_ci(LEVEL, "wilson")
    return Interval(100 * float(wrong.mean()), 100 * float(found.low), 100 * float(found.high))
