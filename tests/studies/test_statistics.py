"""Means, intervals and tests, worked by hand or from published examples."""

from dataclasses import replace

import numpy as np
import pytest

from keras_cbam.studies.report import lines, markdown, verdicts
from keras_cbam.studies.run import Result
from keras_cbam.studies.statistics import compare, summarize
from keras_cbam.studies.tables import STUDIES
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="numbers are the same everywhere")


def result(correct):
    correct = np.asarray(correct, bool)
    return Result(float(correct.mean()), 0.5, correct, 1_234_567, 7_654_321, 1.0, [])


def told(wrong, images=100):
    """A result with so many errors, the first of the images."""
    return result(np.arange(images) >= wrong)


def test_mean_and_students_interval_over_seeds():
    found = summarize({0: told(10), 1: told(12), 2: told(17)})
    assert found.errors == pytest.approx({0: 10, 1: 12, 2: 17})
    # Deviations of 3, 1 and 4 from 13; 4.302653 is Student's t for 97.5 % and 2 degrees of freedom.
    assert found.mean.value == pytest.approx(13)
    assert found.deviation == pytest.approx((26 / 2) ** 0.5)
    reach = 4.302653 * 13**0.5 / 3**0.5
    assert (found.mean.low, found.mean.high) == pytest.approx((13 - reach, 13 + reach), abs=1e-4)
    assert (found.parameters, found.multiply_adds) == (1_234_567, 7_654_321)


def test_what_is_lost_without_attention():
    assert summarize({0: told(10), 1: told(12)}).lost_without_attention is None
    uses = [{"accuracy": 0.9, "replaced": {"accuracy": 0.8}}]
    uses += [{"accuracy": 0.8, "replaced": {"accuracy": 0.75}}]
    measured = {seed: replace(told(10), attention=use) for seed, use in enumerate(uses)}
    assert summarize(measured).lost_without_attention == pytest.approx(7.5)
    study = STUDIES["channel"]
    results = {("Net", row.attention): {0: told(10), 1: told(10)} for row in study.rows}
    results["Net", "se"] = measured
    text = markdown(study, lines(study, ["Net"], results), ["what was run"])
    assert "7.65M | +7.50 | 23.14 |" in text


def test_wilsons_interval_over_images():
    found = summarize({0: told(20)})
    assert found.deviation is None
    # (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with p = 0.2, n = 100, z = 1.959964.
    assert found.mean == pytest.approx((20, 13.3367, 28.8829), abs=1e-3)


def test_seeds_are_compared_in_pairs():
    baseline = {0: told(10), 1: told(12), 2: told(17)}
    found = compare({0: told(8), 1: told(11), 2: told(14)}, baseline)
    # Differences of -2, -1 and -3: mean -2, deviation 1, t = -2 * sqrt(3).
    assert found.difference.value == pytest.approx(-2)
    reach = 4.302653 / 3**0.5
    assert found.difference.low == pytest.approx(-2 - reach, abs=1e-4)
    assert found.difference.high == pytest.approx(-2 + reach, abs=1e-4)
    # With 2 degrees of freedom p is 1 - t / sqrt(t² + 2), both tails.
    assert found.p_value == pytest.approx(1 - (12 / 14) ** 0.5, abs=1e-6)
    assert compare(baseline, baseline).p_value == 1
    shifted = {seed: told(round(100 - 100 * r.accuracy) + 3) for seed, r in baseline.items()}
    assert compare(shifted, baseline).difference.value == pytest.approx(3)


def test_one_seed_is_compared_by_images():
    ours, base = np.ones(50, bool), np.ones(50, bool)
    ours[:2] = False  # 2 only we tell wrong,
    base[2:10] = False  # 8 only the baseline does,
    ours[40:] = base[40:] = False  # 10 both.
    found = compare({0: result(ours)}, {0: result(base)})
    # The chance of at most 2 of 10 at even odds, both tails: 2 * (1 + 10 + 45) / 1024.
    assert found.p_value == pytest.approx(112 / 1024)
    reach = 1.959964 * ((10 / 50 - 0.12**2) / 50) ** 0.5
    assert found.difference == pytest.approx((-12, -12 - 100 * reach, -12 + 100 * reach), abs=1e-3)
    assert compare({0: result(ours)}, {0: result(ours)}).p_value == 1


def test_the_table_says_no_more_than_the_intervals():
    study = STUDIES["channel"]
    errors = {"none": (30, 31, 32), "se": (20, 22, 22), "channel_max": (40, 42, 42)}
    errors["channel"] = (31, 29, 34)
    results = {
        ("Net", name): {seed: told(wrong) for seed, wrong in enumerate(of_seeds)}
        for name, of_seeds in errors.items()
    }
    found = lines(study, ["Net"], results)
    assert [line.published for line in found] == [24.56, 23.14, 23.20, 22.80]
    assert verdicts(found) == [
        "Net, average pool (SE): fewer errors than the first",
        "Net, max pool: more errors than the first, against the paper",
    ]
    text = markdown(study, found, ["what was run"])
    assert (
        "| Net | baseline | 31.00 (28.52 to 33.48) | 1.00 | - | - | 1,234,567 | 7.65M | - | 24.56 |"
        in text
    )
    assert "- what was run\n" in text
    same = lines(study, ["Net"], dict.fromkeys(results, results["Net", "none"]))
    assert verdicts(same) == ["Net: no row is shown to differ from the first"]
    # Of a difference that never varies Student's test cannot tell.
    shifted = {key: {seed: told(40 + seed) for seed in range(3)} for key in results}
    shifted["Net", "none"] = results["Net", "none"]
    constant = lines(study, ["Net"], shifted)
    assert verdicts(constant) == verdicts(same)
    assert "| +10.00 (+10.00 to +10.00) | - |" in markdown(study, constant, [])
