"""The transfer study: what is run, what is compared, and what stands in place of attention."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from scipy import stats

from keras_cbam import attach_attention, freeze_backbone
from keras_cbam.errors import InputError
from keras_cbam.studies import ROWS, transfer_study
from keras_cbam.studies.bottleneck import Bottleneck, bottleneck
from keras_cbam.studies.statistics import holm
from keras_cbam.studies.transfer import grid
from keras_cbam.studies.transfer_report import (
    ALL,
    Outcome,
    accuracies,
    differences,
    markdown,
    verdicts,
)
from keras_cbam.training import FineTuneConfig, group_variables
from tests.backend import quick_on
from tests.cli.running import run_here
from tests.drawn import example, vary, write_images


def on_one(test):
    """Studies run alike everywhere, and PyTorch compiles nothing."""
    return pytest.mark.backends(quick_on("torch")(test))


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets of images, one with val/ and one with test/, and a file beside them."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name, scored in (("one", "val"), ("two", "test")):
        for split, count in (("train", 8), (scored, 4)):
            write_images(folder / name / split, rng, count=count)
    (folder / "README.md").touch()
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "backbone.weights.h5"
    keras.utils.set_random_seed(0)
    inputs = keras.layers.Rescaling(1 / 127.5, -1)(keras.Input((32, 32, 3)))
    model = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_tensor=inputs
    )
    vary(model).save_weights(path)
    return str(path)


def small(weights, **changes):
    settings = {
        "data": "",
        "output": "",
        "backbone": "MobileNet",
        "backbone_options": {"alpha": 0.25},
        "weights": weights,
        "image_size": 32,
        "batch_size": 8,
        "checkpoint_seconds": 0.0,
    }
    return FineTuneConfig(**{**settings, **changes})


@on_one
def test_each_run_is_known_by_all_that_decides_it(sets, weights, tmp_path):
    runs = grid(sets, small(weights), tuple(ROWS), (0, 1))
    assert len(runs) == len({run.name for run in runs}) == 2 * 2 * len(ROWS)
    assert [run.config.seed for run in runs] == [0] * 2 * len(ROWS) + [1] * 2 * len(ROWS)

    def name(**changes):
        config = small(**{"weights": weights, **changes})
        return grid(sets, config, ("cbam",), (0,))[0].name

    assert name() == name(checkpoint_seconds=7.0, output="elsewhere")
    moved = tmp_path / "moved.weights.h5"
    moved.write_bytes(Path(weights).read_bytes())
    assert name(weights=str(moved)) == name()
    moved.write_bytes(Path(weights).read_bytes() + b" ")
    assert len({name(), name(image_size=64), name(weights=str(moved)), name(epochs=3)}) == 4


@on_one
def test_sets_are_known_by_any_name_of_their_splits(sets, weights, tmp_path):
    write_images(tmp_path / "other" / "Training", np.random.default_rng(0), count=1)
    write_images(tmp_path / "other" / "valid", np.random.default_rng(0), count=1)
    (run,) = grid(tmp_path, small(weights), ("cbam",), (0,))
    assert run.dataset == "other"


@on_one
def test_the_study_is_done_once_and_compared_by_pairs(sets, weights, tmp_path, monkeypatch):
    done = []

    def run(config, *, resume, callbacks, factory):
        """Stands in for a run: writes what the study reads."""
        name = (config.data.rpartition("/")[2], config.attention, factory, config.seed)
        done.append(name)
        assert resume
        score = {"accuracy": 0.5 + 0.1 * config.seed + 0.2 * (factory is not None)}
        use = None if config.attention == "none" else {"replaced": {"accuracy": 0.25}}
        record = {"val": score, "attention": use, "images": {"val": 8}, "trained": 7}
        record["seconds"] = {"training": 60.0}
        output = Path(config.output)
        (output / "history.json").write_text(json.dumps(record))
        (output / "report.md").touch()
        return SimpleNamespace(record=record)

    monkeypatch.setattr("keras_cbam.studies.transfer.fine_tune", run)
    rows = ("plain", "bottleneck", "cbam")
    told = []

    def study():
        return transfer_study(
            sets,
            tmp_path,
            small(weights),
            rows=rows,
            seeds=(0, 1),
            tell=lambda run, record: told.append(run.name),
        ).read_text()

    text = study()
    expected = [
        (name, attention, factory, seed)
        for seed in (0, 1)
        for name in ("one", "two")
        for attention, factory in (("none", None), ("none", bottleneck), ("cbam", None))
    ]
    assert done == expected
    assert sorted(told) == sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert study() == text
    assert done == expected
    assert "| bottlenecks of as many weights | 75.0 | 75.0 | 75.0 | - | 7 | 1.0 |" in text
    assert "| CBAM | 55.0 | 55.0 | 55.0 | -30.0 | 7 | 1.0 |" in text
    assert "| bottlenecks of as many weights | plain network | one | +20.0 (" in text
    # All pairs differ by as much, or not at all.
    better = "bottlenecks of as many weights, against plain network: better, +20.0 points"
    assert better in text
    assert "CBAM, against plain network: no difference is shown, +0.0 points" in text
    assert (tmp_path / "transfer.png").stat().st_size > 10_000
    # With a copy of the results alone, nothing is left to do.
    results = (tmp_path / "transfer.json").read_bytes()
    for path in (tmp_path / "runs").iterdir():
        shutil.rmtree(path)
    assert study() == text
    assert (done, (tmp_path / "transfer.json").read_bytes()) == (expected, results)
    kept = json.loads(results)
    dropped = kept["outcomes"].pop()["run"]
    (tmp_path / "transfer.json").write_text(json.dumps(kept))
    assert study() == text
    assert (len(done), told[-1]) == (len(expected) + 1, dropped)
    # Fewer seeds and rows leave the other outcomes where they are.
    whole = json.loads((tmp_path / "transfer.json").read_text())["outcomes"]
    counts = []
    transfer_study(
        sets,
        tmp_path,
        small(weights),
        rows=("plain",),
        seeds=(0,),
        progress=lambda *count: counts.append(count),
    )
    after = json.loads((tmp_path / "transfer.json").read_text())["outcomes"]
    assert sorted(after, key=str) == sorted(whole, key=str)
    assert {total for _, total in counts} <= {2}
    whole[0]["row"] = "cbam" if whole[0]["row"] == "plain" else "plain"
    (tmp_path / "transfer.json").write_text(json.dumps({"outcomes": whole}))
    with pytest.raises(InputError, match="Expected the outcome of data set, row and seed"):
        study()


@on_one
def test_results_of_something_else_are_refused(sets, weights, tmp_path):
    for text in ("[]", "{}", '{"outcomes": [{"run": 3}]}', '{"outcomes": 1}', "{"):
        (tmp_path / "transfer.json").write_text(text)
        with pytest.raises(InputError, match=r"transfer\.json is not the result of a study"):
            transfer_study(sets, tmp_path, small(weights), rows=("probe",), seeds=(0,))
        assert (tmp_path / "transfer.json").read_text() == text


@on_one
def test_without_an_epoch_the_regression_is_what_is_scored(sets, weights, tmp_path):
    table = transfer_study(sets, tmp_path, small(weights), rows=("probe",), seeds=(0,))
    assert "one seed: nothing can be said of differences" in table.read_text()
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 2
    for run in runs:
        record = json.loads((run / "history.json").read_text())
        assert (record["epochs"], record["best"]["epoch"], record["trained"]) == ([], 0, 0)
        # The features are random, and the regression has learned from 14 images.
        assert record["val"]["accuracy"] > 0.5
        report = (run / "report.md").read_text()
        assert "weights kept: the logistic regression" in report
        assert "nothing was trained" in report


def outcome(row, dataset, seed, accuracy):
    return Outcome(f"{dataset}_{row}_{seed}", dataset, row, seed, accuracy, None, 100, 10, 60.0)


def test_differences_are_those_of_pairs():
    rng = np.random.default_rng(0)
    plain = rng.uniform(60, 90, (2, 5))
    gains = rng.normal(3, 1, (2, 5))
    outcomes = [
        outcome(row, dataset, seed, value[index, seed])
        for row, value in (("plain", plain), ("cbam", plain + gains))
        for index, dataset in enumerate("ab")
        for seed in range(5)
    ]
    found = {each.dataset: each for each in differences(accuracies(outcomes))}
    assert list(found) == ["a", "b", ALL]
    pooled = gains.mean(0)
    expected = stats.ttest_1samp(pooled, 0)
    assert found[ALL].interval.value == pytest.approx(pooled.mean())
    low, high = expected.confidence_interval(0.95)
    assert found[ALL].interval[1:] == pytest.approx((low, high))
    # The only one of its family; the sets are two.
    assert found[ALL].p_value == pytest.approx(expected.pvalue)
    alone = [stats.ttest_1samp(each, 0).pvalue for each in gains]
    assert [found["a"].p_value, found["b"].p_value] == pytest.approx(holm(alone))
    assert verdicts(list(found.values()))[0].startswith("CBAM, against plain network: better, +")
    text = markdown(
        outcomes, list(found.values()), FineTuneConfig(data="", output=""), "tensorflow"
    )
    assert f"| CBAM | plain network | {ALL} | {pooled.mean():+.1f} (" in text


def test_one_seed_shows_no_difference():
    outcomes = [outcome(row, "a", 0, 50.0) for row in ("plain", "cbam")]
    found = differences(accuracies(outcomes))
    assert found == []
    assert verdicts(found) == ["one seed: nothing can be said of differences"]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_a_bottleneck_starts_as_the_identity_and_has_as_many_parameters(rng):
    model = vary(keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None))
    images = example(model, rng)
    before = keras.ops.convert_to_numpy(model(images))
    refined = attach_attention(model, bottleneck)
    assert np.array_equal(keras.ops.convert_to_numpy(refined(images)), before)
    layers = [layer for layer in refined.layers if isinstance(layer, Bottleneck)]
    attention = attach_attention(model, "cbam")
    counts = [
        sum(np.prod(w.shape) for w in attention.get_layer(name).trainable_weights)
        for name in (layer.name.replace("bottleneck", "cbam") for layer in layers)
    ]
    assert len(layers) == 26
    freeze_backbone(refined)
    learns = {id(weight) for layer in layers for weight in layer.weights}
    assert {id(weight) for weight in refined.trainable_weights} == learns
    groups = group_variables(refined, [refined.layers[-1].name])
    assert {id(weight) for weight in groups["attention"]} == learns
    for layer, count in zip(layers, counts, strict=True):
        # Half of what one filter more or less has.
        channels = layer.up.filters
        assert abs(layer.count_params() - count) <= channels + 1
    last = layers[-1]
    last.up.kernel.assign(rng.normal(size=last.up.kernel.shape))
    x = rng.normal(size=(1, 2, 2, 256)).astype("float32")
    down, up = (keras.ops.convert_to_numpy(w.kernel)[0, 0] for w in (last.down, last.up))
    expected = x + np.maximum(x @ down, 0) @ up
    assert np.allclose(keras.ops.convert_to_numpy(last(x)), expected, atol=1e-3)


@on_one
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["transfer", "--scale", "small"], "--scale does not go with study transfer"),
        (["order", "--weights", "x.h5"], "--weights does not go with study order"),
        (["transfer", "--rows", "cbam,none"], "Expected rows of plain, probe"),
        (["transfer", "--weights", "none.h5"], "No file at: none.h5"),
        (["transfer", "--network", "A", "--network", "B"], "Expected one network"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message, sets, tmp_path):
    done = run_here("study", *options, "--data", sets, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


@on_one
def test_what_no_run_could_do_is_refused_at_once(sets, weights, tmp_path):
    def refused(config, folder=sets):
        with pytest.raises(InputError) as found:
            transfer_study(folder, tmp_path / "out", config)
        assert not (tmp_path / "out").exists()
        return str(found.value)

    assert "Found none" in refused(small(weights), sets / "one")
    assert "Received: weights none" in refused(small("none"))
    assert "alpa" in refused(small(weights, backbone_options={"alpa": 0.25}))
    write_images(tmp_path / "sets" / "lone" / "train", np.random.default_rng(0), count=2)
    assert "Expected val/ or test/ beside train/ in" in refused(small(weights), tmp_path / "sets")
