"""The tables of docs/finetune.md are those of the committed rows."""

import importlib.util
import json
import re

import numpy as np
import pytest

from tests.backend import BACKEND, ROOT

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the same on every backend")

PAGE = (ROOT / "docs" / "finetune.md").read_text()
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks" / "fine_tuning.py"
    spec = importlib.util.spec_from_file_location("fine_tuning", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(name):
    return json.loads((ROOT / "docs" / "finetune" / name).read_text())


def test_mobilenet_v2(benchmark):
    now, earlier = rows("results.json"), rows("results_0.1.0.json")
    for printed in (
        benchmark.table(now, ["MobileNetV2"]),
        benchmark.progress(earlier, now, ["MobileNetV2"]),
    ):
        assert printed.count("| 3 |") in (5, 10)  # Each row has three seeds.
        assert printed in PAGE


def test_mobilenet(benchmark):
    def column(name, dataset, attention, key="accuracy"):
        found = {
            row["seed"]: row[key]
            for row in rows(name)
            if (row["network"], row["dataset"], row["attention"])
            == ("MobileNet-0.25", dataset, attention)
        }
        return np.array([found[seed] for seed in SEEDS])

    for dataset in benchmark.SETS:
        cells = re.search(rf"^\| {dataset} \| (.*) \|$", PAGE, re.MULTILINE)[1].split(" | ")
        now = {name: column("results.json", dataset, name) for name in benchmark.ATTENTIONS}
        means = [
            *(column("results_0.1.0.json", dataset, name) for name in benchmark.ATTENTIONS),
            *now.values(),
            column("results.json", dataset, "cbam", "without"),
        ]
        assert cells[1:6] == [f"{values.mean():.1f}" for values in means]
        written = [float(number) for number in cells[6].split(", ")]
        np.testing.assert_allclose(written, now["cbam"] - now["none"], atol=0.051)
