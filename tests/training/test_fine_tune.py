"""Fine-tuning: what it writes, and that it goes on where it was cut off."""

import json
import shutil
import sys
import zipfile
from io import BytesIO
from itertools import product

import h5py
import keras
import numpy as np
import pytest
from scipy.stats import binomtest

from keras_cbam.config.fine_tune_defaults import (
    BESIDE_FROZEN,
    BUDGETS,
    FRESH,
    LEAST_EPOCHS,
    MOST_EPOCHS,
    NORM_FROZEN,
    NORM_TRAINS,
    fits,
)
from keras_cbam.errors import InputError
from keras_cbam.surgery import start_gates
from keras_cbam.training import (
    FineTuneConfig,
    ImageBatches,
    Processes,
    fine_tune,
    recalibrate,
)
from keras_cbam.training.fine_tune import STATE_DIRECTORY
from keras_cbam.training.recalibrate import batch_norms
from keras_cbam.training.scores import within_chance
from tests.backend import BACKEND, quick_on
from tests.short_mobilenet import SHORT

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("short_mobilenet")]
# PyTorch compiles nothing, so a run takes seconds there.
on_one = pytest.mark.skipif(BACKEND != "torch", reason="one backend shows what is trained")
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")


def config(image_folder, output, **changes):
    settings = {
        "data": str(image_folder),
        "output": str(output),
        "backbone": SHORT,
        "backbone_options": {"alpha": 0.25, "blocks": 2},
        "weights": "none",
        "attention": "spatial",
        "image_size": 32,
        "batch_size": 4,
        "head_epochs": 1,
        "epochs": 2,
        "learning_rate": 0.01,
        "val_split": 0.25,
        "checkpoint_seconds": 0.0,
    }
    return FineTuneConfig(**{**settings, **changes})


class StopAt(keras.callbacks.Callback):
    """Stands in for a kill: raises after so many batches of the whole run."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def uninterrupted(image_folder, tmp_path):
    return fine_tune(config(image_folder, tmp_path / "whole"))


@pytest.mark.backends
@quick_on("torch")
def test_run_writes_everything_and_resumes_to_the_same_end(image_folder, tmp_path, uninterrupted):
    whole = tmp_path / "whole"
    names = {"model.keras", "labels.txt", "history.json", "curves.png", "report.md"}
    assert {p.name for p in whole.iterdir()} == names
    assert (whole / "labels.txt").read_text() == "blue\nred\n"
    record = json.loads((whole / "history.json").read_text())
    assert [(e["phase"], e["epoch"]) for e in record["epochs"]] == [
        ("head", 1),
        ("whole", 1),
        ("whole", 2),
    ]
    # With two images held out, the last epoch within chance of the highest accuracy.
    held_out = [{"accuracy": epoch["selection_accuracy"]} for epoch in record["epochs"]]
    highest = max(held_out, key=lambda scores: scores["accuracy"])
    near = [i for i, each in enumerate(held_out, 1) if within_chance(each, highest, images=2)]
    assert record["images"]["selection"] == 2
    assert record["best"]["epoch"] == near[-1]
    use = record["attention"]
    assert (use["images"], len(use["gates"])) == (record["images"]["val"], 4)
    assert use["accuracy"] == pytest.approx(record["val"]["accuracy"])
    assert f"**{use['sentence']}**" in (whole / "report.md").read_text()
    # The file holds the weights, and no moments of an optimizer, which are twice as many.
    with zipfile.ZipFile(whole / "model.keras") as archive:
        stored = h5py.File(BytesIO(archive.read("model.weights.h5")))
    assert len(stored["optimizer/vars"]) == 2
    loaded = keras.saving.load_model(whole / "model.keras")
    pixels = np.full((1, 32, 32, 3), 120, "float32")
    assert np.allclose(loaded.predict(pixels, verbose=0).sum(), 1, atol=1e-5)

    # 16 training images of 4 a batch are 4 batches an epoch. Cut within the first epoch, and in the
    # second phase, with nothing saved since the first ended.
    assert record["images"]["train"] == 16
    output = tmp_path / "cut"
    for more, seconds in ((1, 0.0), (4, 1e9)):
        again = config(image_folder, output, checkpoint_seconds=seconds)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(again, resume=more > 1, callbacks=[StopAt(more)])
        assert {p.name for p in output.iterdir()} == {STATE_DIRECTORY}
    with pytest.raises(InputError, match="interrupted run; give --resume"):
        fine_tune(config(image_folder, output))
    resumed = fine_tune(config(image_folder, output), resume=True)
    assert {p.name for p in output.iterdir()} == names
    for a, b in zip(uninterrupted.record["epochs"], resumed.record["epochs"], strict=True):
        assert a.keys() == b.keys()
        # At the even odds of a few steps, rounding alone may flip an answer, so the losses are
        # compared; the running loss of a cut epoch counts the batches before the cut.
        for key in ("epoch", "loss", "selection_loss"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-4), key
    weights = zip(uninterrupted.model.get_weights(), resumed.model.get_weights(), strict=True)
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in weights)


@on_one
def test_balanced_classes_are_learned_and_scored(image_folder, tmp_path):
    """From the same start on the same images the loss is another, and val is told both ways."""
    for index in range(4, 12):
        (image_folder / "red" / f"{index}.jpg").unlink()
    settings = {"head_epochs": 0, "epochs": 1, "batch_size": 16, "augmentations": ()}
    settings["attention"] = "none"
    plain, balanced = (
        fine_tune(config(image_folder, tmp_path / str(on), balance=on, **settings))
        for on in (False, True)
    )
    assert "balanced_accuracy" not in plain.record["val"]
    losses = [result.record["epochs"][0]["loss"] for result in (plain, balanced)]
    assert abs(losses[0] - losses[1]) > 1e-3
    val = balanced.folder.val
    told = balanced.model.predict(ImageBatches(val, 32, 4), verbose=0).argmax(-1)
    right = [(told == val.labels)[val.labels == label].mean() for label in (0, 1)]
    assert balanced.record["val"]["balanced_accuracy"] == pytest.approx(np.mean(right))
    report = (tmp_path / "True" / "report.md").read_text()
    assert f"accuracies on val: {np.mean(right):.2%}" in report


@on_one
def test_resume_refuses_another_run(image_folder, tmp_path):
    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fine_tune(config(image_folder, output), callbacks=[StopAt(2)])
    with pytest.raises(InputError, match=r"begun with learning_rate 0.01, not 0.1"):
        fine_tune(config(image_folder, output, learning_rate=0.1), resume=True)
    shutil.rmtree(output)
    alone = fine_tune(config(image_folder, output, epochs=0, learning_rate=None), resume=True)
    # The backbone, which stayed as it was, has no rate; beside it attention learns at less.
    rates = alone.record["rates"]
    assert list(rates) == ["attention", "head"]
    assert rates["attention"] == BESIDE_FROZEN * FRESH.attention_learning_rate
    assert "of it while" not in (output / "report.md").read_text()
    # A kill between the last two steps leaves the state; what is not ours stays.
    state = output / STATE_DIRECTORY
    state.mkdir()
    (state / "state.npz").touch()
    (state / "mine.txt").touch()
    with pytest.raises(InputError, match="finished run"):
        fine_tune(config(image_folder, output), resume=True)
    assert [path.name for path in state.iterdir()] == ["mine.txt"]


class Look(keras.callbacks.Callback):
    """Sees which layers train in each phase, and their momenta."""

    def __init__(self):
        super().__init__()
        self.names = []
        self.momenta = set()
        self.normalizing = []

    def on_epoch_begin(self, epoch, logs=None):
        self.names.append({v.path.split("/")[0] for v in self.model.trainable_variables})
        normalizations = batch_norms(self.model)
        self.momenta = {layer.momentum for layer in normalizations}
        self.normalizing.append({layer.name for layer in normalizations if layer.trainable})


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "backbone.weights.h5"
    inputs = keras.Input((32, 32, 3))
    getattr(keras.applications, SHORT)(
        alpha=0.25, blocks=2, include_top=False, weights=None, input_tensor=inputs
    ).save_weights(path)
    return str(path)


@on_one
def test_attention_trains_with_the_head_and_then_with_the_whole_network(
    image_folder, tmp_path, weights
):
    look = Look()
    fine_tune(config(image_folder, tmp_path / "run", weights=weights, epochs=1), callbacks=[look])
    head, whole = look.names
    attention = {name for name in head if name.endswith("_spatial")}
    assert len(attention) == 4
    assert head == {"probabilities", *attention}
    assert {"conv1", "conv1_bn"} < whole
    assert head < whole
    # It normalizes by the published averages, then by the batch.
    assert ["conv1_bn" in names for names in look.normalizing] == [False, True]
    # MobileNet's own 0.99, and that of attention, would settle in hundreds of steps.
    assert look.momenta == {0.9}


@on_tensorflow
def test_rates_and_batch_norm_go_by_how_well_the_frozen_backbone_does():
    # Guessing gets 1 - 1 / classes wrong. Surely below a tenth of that is near.
    for wrong, images, classes in product((0, 1, 2, 5, 30, 40, 200), (20, 60, 1000), (2, 16, 100)):
        if wrong < images:
            highest = binomtest(wrong, images).proportion_ci(0.9, "wilson").high
            near = highest < 0.1 * (1 - 1 / classes)
            assert fits(wrong / images, images, classes) == near, (wrong, images, classes)
    assert [fits(wrong / 60, 60, 24) for wrong in (0, 1, 2)] == [True, True, False]
    assert fits(2 / 60, 60, 25)

    def rated(error=0.02, **changes):
        stated = {"weights": "imagenet", "learning_rate": None, **changes}
        return config("images", "run", **stated).settled(10).rated(error, 1000, 2)

    def norm_and_rates(run):
        return run.batch_norm, *(getattr(run, name) for name in NORM_TRAINS._fields)

    assert norm_and_rates(rated(0.02)) == ("frozen", *NORM_FROZEN)
    assert norm_and_rates(rated(0.06)) == ("train", *NORM_TRAINS)
    fresh = rated(None, weights="none")
    assert norm_and_rates(fresh) == ("train", *FRESH)
    # What the user states stays, and decides the rest.
    assert norm_and_rates(rated(0.06, batch_norm="frozen"))[1:] == NORM_FROZEN
    assert norm_and_rates(rated(batch_norm="recalibrate"))[1:] == NORM_TRAINS
    trains = NORM_TRAINS._asdict()
    stated = tuple((trains | {"learning_rate": 0.5}).values())
    assert norm_and_rates(rated(learning_rate=0.5)) == ("train", *stated)
    for changes in ({"batch_norm_momentum": 0.5}, {"batch_norm": "train"}):
        assert norm_and_rates(rated(**changes)) == ("train", *trains.values())
    assert norm_and_rates(rated(epochs=0)) == (None, *trains.values())
    assert rated(0.02) == rated(0.02).rated(0.5, 1000, 2)
    # Without batch normalization, whatever is said of it.
    bare = {"weights": "imagenet", "learning_rate": None}
    for changes in ({}, {"batch_norm": "train"}, {"batch_norm_momentum": 0.5}):
        run = (
            config("images", "run", **bare, **changes).settled(10).rated(0.5, 1000, 2, norms=False)
        )
        assert norm_and_rates(run)[1:] == NORM_FROZEN
    assert rated(attention_learning_rate=0.5).attention_learning_rate == 0.5
    assert rated(attention_learning_rate=0.5).learning_rate == NORM_FROZEN.learning_rate


@on_one
def test_a_probe_is_scored_and_a_new_head_learns(image_folder, tmp_path, weights, monkeypatch):
    def all_of_the_first_class(scorer, *_):
        features = scorer.model.get_layer("probabilities").kernel.shape[0]
        return [np.zeros((features, 2), "float32"), np.array([9, 0], "float32")]

    class Bias(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if not hasattr(self, "first"):
                self.first = self.model.get_layer("probabilities").get_weights()[1]

    module = sys.modules[fine_tune.__module__]
    monkeypatch.setattr(module, "linear_probe", all_of_the_first_class)
    look, run = Bias(), config(image_folder, tmp_path / "run", weights=weights)
    start = fine_tune(run, callbacks=[look]).record["start"]
    wrong = 1 - start["accuracy"]
    assert 0 < wrong < 1
    assert start["loss"] == pytest.approx(9 * wrong, abs=1e-3)
    assert not look.first.any()


@on_one
@pytest.mark.parametrize("near", [True, False])
def test_a_run_learns_at_the_rates_that_fit_its_start(
    image_folder, tmp_path, weights, monkeypatch, near
):
    asked = []

    def found(error, images, classes):
        asked.append((error, images, classes))
        return near

    monkeypatch.setattr("keras_cbam.config.fine_tune_defaults.fits", found)

    class Rates(Look):
        seen = ()

        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            # The optimizer's rate is the backbone's; the others are a multiple of it.
            optimizer = self.model.optimizer
            rate, scales = float(optimizer.learning_rate), set(optimizer.scales.values())
            self.seen = (*self.seen, (rate, *sorted(rate * scale for scale in scales)))

    look = Rates()
    # A rate of the head that no other group has.
    settings = {"weights": weights, "learning_rate": None, "head_learning_rate": 0.02}
    settings |= {"warmup": 0.0, "epochs": 1}
    record = fine_tune(config(image_folder, tmp_path / "run", **settings), callbacks=[look]).record
    start, report = record["start"], (tmp_path / "run" / "report.md").read_text()
    assert set(asked) == {(1 - start["accuracy"], record["images"]["selection"], 2)}
    assert f"{start['accuracy']:.2%} of the images held out" in report
    table = NORM_FROZEN if near else NORM_TRAINS
    backbone, attention = table.learning_rate, table.attention_learning_rate
    assert record["rates"] == {"backbone": backbone, "attention": attention, "head": 0.02}
    for seen, share in zip(look.seen, (BESIDE_FROZEN, 1), strict=True):
        assert seen == pytest.approx((backbone, *sorted((share * attention, 0.02))))
    assert ["conv1_bn" in names for names in look.normalizing] == [False, not near]
    assert f"backbone {backbone:.2g}" in report
    assert "(0.1 of it while the backbone is frozen)" in report
    assert f"while the whole network learned: {'frozen' if near else 'train'}\n" in report


@on_one
def test_a_backbone_without_batch_norm_learns_at_the_lower_rates(
    image_folder, tmp_path, weights, monkeypatch
):
    def without_norms(name, weights, inputs, options):
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, strides=2)(inputs))

    monkeypatch.setattr("keras_cbam.training.classifier.build_backbone", without_norms)
    rates = dict.fromkeys(("learning_rate", "attention_learning_rate", "head_learning_rate"))
    # The weights are not read.
    settings = {"weights": weights, "attention": "none", "epochs": 1}
    run = config(image_folder, tmp_path / "run", **settings, **rates)
    record = fine_tune(run).record
    assert record["rates"]["backbone"] == NORM_FROZEN.learning_rate
    assert record["config"]["batch_norm"] is None
    assert "the backbone has no batch normalization" in (tmp_path / "run" / "report.md").read_text()


@on_one
def test_a_run_starts_gates_and_resumes_to_the_same_end(
    image_folder, tmp_path, weights, monkeypatch
):
    started = []

    def watched(model, images, **settings):
        started.append(images.shape)
        # What the first normalization is given, in batches as they are in training.
        first = keras.Model(model.input, model.get_layer("conv1_bn").input)
        means = [
            np.mean(first.predict(images[i : i + 4], verbose=0), (0, 1, 2)) for i in (0, 4, 8, 12)
        ]
        moving = keras.ops.convert_to_numpy(model.get_layer("conv1_bn").moving_mean)
        np.testing.assert_allclose(moving, np.mean(means, 0), rtol=1e-3, atol=1e-4)
        start_gates(model, images, **settings)

    monkeypatch.setattr(sys.modules["keras_cbam.training.fine_tune"], "start_gates", watched)
    settings = {"weights": weights, "attention": "channel", "learning_rate": None, "epochs": 1}
    settings["batch_norm"] = "recalibrate"
    whole = fine_tune(config(image_folder, tmp_path / "whole", **settings))
    assert started == [(16, 32, 32, 3)]
    again = config(image_folder, tmp_path / "cut", **settings)
    for more in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            fine_tune(again, resume=more > 2, callbacks=[StopAt(more)])
    resumed = fine_tune(again, resume=True)
    assert len(started) == 2
    assert resumed.record["start"] == whole.record["start"]
    assert resumed.record["rates"] == whole.record["rates"]
    for ours, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


@on_one
def test_a_run_whose_features_fit_resumes_to_the_same_end(
    image_folder, tmp_path, weights, monkeypatch
):
    monkeypatch.setattr("keras_cbam.config.fine_tune_defaults.fits", lambda *_: True)
    settings = {"weights": weights, "learning_rate": None, "epochs": 1}
    whole = fine_tune(config(image_folder, tmp_path / "whole", **settings))
    cut = config(image_folder, tmp_path / "cut", **settings)
    # In the second phase: the first has four steps.
    with pytest.raises(KeyboardInterrupt):
        fine_tune(cut, callbacks=[StopAt(6)])
    look = Look()
    resumed = fine_tune(cut, resume=True, callbacks=[look])
    assert len(look.normalizing) == 1
    assert "conv1_bn" not in look.normalizing[0]
    assert resumed.record["rates"] == whole.record["rates"]
    assert resumed.record["config"]["batch_norm"] == "frozen"
    for ours, expected in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


@on_one
def test_batch_norm_frozen_and_recalibrated(image_folder, tmp_path, weights):
    def run(name, **changes):
        look = Look()
        settings = {"weights": weights, "attention": "none", "head_epochs": 0, "epochs": 1}
        run = config(image_folder, tmp_path / name, **settings, **changes)
        result = fine_tune(run, callbacks=[look])
        means = result.model.get_layer("conv1_bn").moving_mean
        assert ("conv1_bn" in look.normalizing[0]) == (name != "frozen")
        momenta.update(look.momenta)
        return look.names[0], keras.ops.convert_to_numpy(means), result

    momenta = set()
    names, frozen, _ = run("frozen", batch_norm="frozen")
    momenta.clear()
    assert not {name for name in names if name.endswith("_bn")}
    # Those that the fresh network came with.
    np.testing.assert_array_equal(frozen, 0)
    names, moving, _ = run("train", batch_norm_momentum=0.5)
    assert "conv1_bn" in names
    assert momenta == {0.5}
    names, estimated, result = run("recalibrate", batch_norm="recalibrate")
    assert "conv1_bn" in names
    assert np.abs(estimated).max() > 0
    assert not np.allclose(moving, estimated, rtol=1e-2)
    # The mean over the batches of what the layer is given, by the weights as they are now.
    model = result.model
    first = keras.Model(model.input, model.get_layer("conv1_bn").input)
    images = ImageBatches(
        result.folder.train, 32, 4, training=True, augmentations=("crop", "flip", "color")
    )
    expected = [np.mean(first.predict(images[i][0], verbose=0), (0, 1, 2)) for i in range(4)]
    np.testing.assert_allclose(estimated, np.mean(expected, 0), rtol=1e-3, atol=1e-4)


@on_tensorflow
def test_settings_that_do_not_go_together(image_folder, tmp_path, weights):
    for changes, message in (
        ({"batch_norm": "freeze"}, "Expected batch norm of train, recalibrate, frozen"),
        ({"batch_norm": "frozen"}, "weights 'none', which bring no statistics. Received: frozen"),
        (
            {"batch_norm": "frozen", "weights": weights, "batch_norm_momentum": 0.9},
            "momentum goes with batch norm train",
        ),
        ({"batch_norm_momentum": 9.0}, "momentum of at least 0 and below 1. Received: 9.0"),
        ({"attention_learning_rate": 0.0}, "Expected a learning rate of the attention above 0"),
        ({"attention_learning_rate": 0.1, "attention": "none"}, "Received: attention none"),
        ({"points": "middle"}, "Expected points of stage_ends, last_stage. Received: middle"),
        ({"points": "last_stage", "attention": "none"}, "Points are for a network with attention"),
        ({"epochs": 0}, "A learning rate and the batch norm.* Received: epochs 0"),
        (
            {"epochs": 0, "learning_rate": None, "batch_norm": "train"},
            "A learning rate and the batch norm.* Received: epochs 0",
        ),
        ({"epochs": 0, "head_epochs": 0}, "Expected at least one epoch"),
    ):
        with pytest.raises(InputError, match=message):
            fine_tune(config(image_folder, tmp_path / "run", **changes))


@on_tensorflow
def test_batches_that_processes_cannot_share_are_refused_at_once(image_folder, tmp_path):
    class Three(Processes):
        def wait(self, name):
            pass

    run = config(image_folder, tmp_path / "run", batch_norm="train")
    with pytest.raises(InputError, match=r"3 processes share evenly. Received: batches of 4"):
        fine_tune(run, processes=Three(index=0, count=3))
    assert not (tmp_path / "run").exists()


@on_tensorflow
def test_averages_of_no_normalization_read_no_images():
    class Unread(keras.utils.PyDataset):
        def __len__(self):
            raise AssertionError

    inputs = keras.Input((4, 4, 3))
    recalibrate(keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs)), Unread())


@on_tensorflow
def test_averages_of_no_images_are_refused():
    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.BatchNormalization(momentum=0.7)
    with pytest.raises(ValueError, match=r"Expected at least one input. Received none"):
        recalibrate(keras.Model(inputs, layer(inputs)), np.zeros((0, 4, 4, 3)))
    assert layer.momentum == 0.7


@on_tensorflow
def test_a_budget_in_steps_and_what_the_user_states():
    def settled(batches, **changes):
        unsaid = dict.fromkeys(("head_epochs", "epochs", "learning_rate"))
        stated = {"weights": "imagenet", **unsaid, **changes}
        return config("images", "run", **stated).settled(batches)

    budget = BUDGETS[True]
    small, large = settled(15), settled(100_000)
    assert small.epochs == -(-budget.steps // 15)
    assert small.head_epochs == -(-budget.head_steps // 15)
    assert (large.head_epochs, large.epochs) == (1, LEAST_EPOCHS)
    tiny = settled(1)
    assert (tiny.head_epochs, tiny.epochs) == (MOST_EPOCHS, MOST_EPOCHS)
    stated = settled(15, epochs=3, head_epochs=0, learning_rate=0.5, head_learning_rate=0.25)
    assert (stated.head_epochs, stated.epochs, stated.learning_rate) == (0, 3, 0.5)
    assert list(stated.phases()) == ["whole"]
    assert stated.recipe().learning_rate == 0.5
    assert stated.recipe().group_rates["head"] == 0.25
    assert stated.settled(7) == stated


@on_tensorflow
def test_options_reach_the_recipe(tmp_path):
    changes = {"label_smoothing": 0.1, "clip_norm": 2.0, "ema": 0.9}
    changes["dtype_policy"] = "mixed_bfloat16"
    rates = {"head_learning_rate": 0.2, "attention_learning_rate": 0.3, "learning_rate": 0.1}
    recipe = config(tmp_path, tmp_path, warmup=0.2, **rates, **changes).recipe()
    assert recipe.learning_rate == 0.1
    assert recipe.group_rates == {"head": 0.2, "attention": 0.3}
    assert recipe.warmup == 0.2
    assert {name: getattr(recipe, name) for name in changes} == changes


@on_one
def test_a_dtype_policy_and_points_are_those_of_the_network(image_folder, tmp_path):
    options = {"dtype_policy": "mixed_bfloat16", "ema": 0.5, "label_smoothing": 0.1}
    options["points"] = "last_stage"
    result = fine_tune(config(image_folder, tmp_path / "run", head_epochs=0, epochs=1, **options))
    assert result.model.get_layer("conv1").compute_dtype == "bfloat16"
    assert result.model.get_layer("probabilities").compute_dtype == "float32"
    keras.saving.load_model(tmp_path / "run" / "model.keras")
    refined = {gate["layer"] for gate in result.record["attention"]["gates"]}
    assert refined == {"conv_dw_2_relu_spatial", "conv_pw_2_relu_spatial"}
    report = (tmp_path / "run" / "report.md").read_text()
    assert report.startswith("# MobileNetShort with attention spatial at last_stage\n")
