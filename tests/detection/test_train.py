"""Training a detector: what it writes, and that it goes on where it was cut off."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_cbam.detection import DetectionConfig, train_detector
from keras_cbam.errors import InputError
from keras_cbam.training.output import STATE_DIRECTORY
from tests.backend import BACKEND, quick_on
from tests.detection.data import BOXES, write_voc
from tests.short_mobilenet import SHORT, short_mobilenet_is_known
from tests.training.test_fine_tune import StopAt

pytestmark = pytest.mark.usefixtures("short_mobilenet")
pytest.importorskip("keras_hub", reason="needs the extra `detection`")
pytest.importorskip("pycocotools", reason="needs the extra `detection`")

FILES = {
    "model.keras",
    "labels.txt",
    "history.json",
    "curves.png",
    "predictions.png",
    "report.md",
}


def config(folder, output, **changes):
    settings = {
        "data": str(folder),
        "output": str(output),
        "backbone": SHORT,
        "backbone_options": {"alpha": 0.25},
        "weights": "none",
        "attention": "cbam",
        "image_size": (64, 96),
        "batch_size": 2,
        "epochs": 2,
        "head_layers": 0,
        "learning_rate": 2e-3,
        "checkpoint_seconds": 0.0,
    }
    return DetectionConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_voc(tmp_path_factory.mktemp("voc"), {"train": list(BOXES), "val": ["a", "d"]})
    with (root / "ImageSets" / "Main" / "train.txt").open("a") as file:
        file.write("missing\n")
    return root


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    keras.utils.set_random_seed(0)
    output = tmp_path_factory.mktemp("whole") / "run"
    scores = []
    with short_mobilenet_is_known():
        return output, train_detector(config(data, output), scored=scores.append), scores


# TensorFlow and JAX compile each run for up to a minute.
@pytest.mark.backends
@quick_on("torch")
def test_run_writes_everything(data, whole):
    output, result, scores = whole
    assert {path.name for path in output.iterdir()} == FILES
    assert (output / "labels.txt").read_text() == "blue\nred\n"
    record = json.loads((output / "history.json").read_text())
    assert [row["epoch"] for row in record["epochs"]] == [1, 2]
    assert [row["selection_mAP"] for row in record["epochs"]] == [s["mAP"] for s in scores]
    assert record["splits"]["train"]["images"] == 5
    assert record["splits"]["train"]["without_boxes"] == ["empty.png"]
    assert record["anchor_size"] == result.detector.anchor_generator.anchor_size
    best = record["best"]["epoch"] - 1
    assert record["best"]["mAP"] == max(row["selection_mAP"] for row in record["epochs"])
    assert record["best"]["mAP"] == record["epochs"][best]["selection_mAP"]
    report = (output / "report.md").read_text()
    assert "train, missing.xml: image missing: its annotation is missing" in report
    assert "train, empty.png" in report
    with pytest.raises(InputError, match="holds a finished run"):
        train_detector(config(data, output), resume=True)


@pytest.mark.backends
@quick_on("torch")
def test_cut_off_and_resumed_to_the_same_end(data, whole, tmp_path):
    """2 batches in each of 2 epochs: cut within the second."""
    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_detector(config(data, output), callbacks=[StopAt(3)])
    assert {path.name for path in output.iterdir()} == {STATE_DIRECTORY}
    resumed = train_detector(config(data, output), resume=True)
    assert {path.name for path in output.iterdir()} == FILES
    _, uninterrupted, _ = whole
    for ours, expected in zip(
        resumed.record["epochs"], uninterrupted.record["epochs"], strict=True
    ):
        assert np.isfinite(ours["loss"])
        assert ours["loss"] == pytest.approx(expected["loss"], rel=1e-3, abs=1e-4)
    weights = zip(resumed.detector.get_weights(), uninterrupted.detector.get_weights(), strict=True)
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in weights)
    # The network has 8 places for attention.
    use = resumed.record["attention"]
    assert len({gate["layer"] for gate in use["gates"]}) == 8
    assert any(gate["over_images"] > 0 or gate["over_places"] > 0 for gate in use["gates"])
    assert use["mAP"] == resumed.record["best"]["mAP"]
    assert f"**{use['sentence']}**" in (output / "report.md").read_text()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="refused alike everywhere")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "Expected at least one epoch"),
        ({"anchor_size": 0.0}, "Expected an anchor size above 0"),
        ({"image_size": (64, 90)}, "multiples of 32"),
        ({"augmentations": ("mosaic",)}, "Expected augmentations"),
        ({"attention": "transformer"}, "Expected an attention"),
        ({"attention": "none", "attention_learning_rate": 0.1}, "Received: attention none"),
        ({"weights": "nowhere.h5"}, "No file at"),
        ({"warmup": 1.0}, "Expected a warmup"),
        ({"batch_size": 6}, "at least as many images as a batch has"),
        ({"data": "nowhere"}, "Expected a folder with ImageSets"),
    ],
)
def test_what_cannot_be_trained(changes, message, data, tmp_path):
    with pytest.raises(InputError, match=message):
        train_detector(config(changes.get("data", data), tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_the_rate_of_the_attention_goes_with_the_other_or_is_its_own():
    run = DetectionConfig(data="data", output="run", learning_rate=1e-4)
    assert run.recipe.group_rates["attention"] == pytest.approx(3e-4)
    run = replace(run, attention_learning_rate=0.5)
    assert run.recipe.group_rates == {"attention": 0.5}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend shows that it is called")
def test_gates_of_a_pretrained_backbone_are_started(data, tmp_path, monkeypatch):
    inputs = keras.Input((64, 96, 3))
    backbone = getattr(keras.applications, SHORT)(
        alpha=0.25, include_top=False, weights=None, input_tensor=inputs
    )
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    started = []

    def start_gates(detector, images, **settings):
        started.append(images.shape)
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_cbam.detection.train.start_gates", start_gates)
    weights = str(tmp_path / "backbone.weights.h5")
    with pytest.raises(KeyboardInterrupt):
        train_detector(config(data, tmp_path / "run", weights=weights))
    assert started == [(4, 64, 96, 3)]
