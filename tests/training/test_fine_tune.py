"""Fine-tuning: what it writes, and that it goes on where it was cut off."""

import json
import shutil

import keras
import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.training import FineTuneConfig, fine_tune
from keras_cbam.training.fine_tune import STATE_DIRECTORY
from tests.conftest import BACKEND


def config(image_folder, output, **changes):
    settings = {
        "data": str(image_folder),
        "output": str(output),
        "backbone": "MobileNet",
        "backbone_options": {"alpha": 0.25},
        "weights": "none",
        "attention": "spatial",
        "image_size": 32,
        "batch_size": 4,
        "head_epochs": 1,
        "epochs": 2,
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


def test_resume_refuses_another_run(image_folder, tmp_path):
    output = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fine_tune(config(image_folder, output), callbacks=[StopAt(2)])
    with pytest.raises(InputError, match=r"begun with learning_rate 0.0001, not 0.1"):
        fine_tune(config(image_folder, output, learning_rate=0.1), resume=True)
    shutil.rmtree(output)
    fine_tune(config(image_folder, output, epochs=0), resume=True)
    # A kill between the last two steps leaves the state; what is not ours stays.
    state = output / STATE_DIRECTORY
    state.mkdir()
    (state / "state.npz").touch()
    (state / "mine.txt").touch()
    with pytest.raises(InputError, match="finished run"):
        fine_tune(config(image_folder, output), resume=True)
    assert [path.name for path in state.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="one backend shows which layers are trained")
def test_head_phase_trains_the_head_alone(image_folder, tmp_path):
    seen = {}

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            names = {v.path.split("/")[0] for v in self.model.trainable_variables}
            seen.setdefault("head" if names == {"probabilities"} else "whole", names)

    weights = tmp_path / "backbone.weights.h5"
    inputs = keras.Input((32, 32, 3))
    keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_tensor=inputs
    ).save_weights(weights)
    fine_tune(
        config(image_folder, tmp_path / "run", weights=str(weights), epochs=1), callbacks=[Look()]
    )
    assert seen["head"] == {"probabilities"}
    assert {"conv1", "conv_dw_1_relu_spatial"} < seen["whole"]
    assert not {name for name in seen["whole"] if name.endswith("_bn")}


def test_options_reach_the_recipe(tmp_path):
    changes = {"label_smoothing": 0.1, "clip_norm": 2.0, "ema": 0.9}
    changes["dtype_policy"] = "mixed_bfloat16"
    rates = {"head_learning_rate": 0.2, "learning_rate": 0.1}
    phases = config(tmp_path, tmp_path, **rates, **changes).phases()
    assert [phase.recipe.learning_rate for phase in phases] == [0.2, 0.1]
    for phase in phases:
        assert {name: getattr(phase.recipe, name) for name in changes} == changes


def test_a_dtype_policy_is_that_of_the_network(image_folder, tmp_path):
    options = {"dtype_policy": "mixed_bfloat16", "ema": 0.5, "label_smoothing": 0.1}
    result = fine_tune(config(image_folder, tmp_path / "run", head_epochs=0, epochs=1, **options))
    assert result.model.get_layer("conv1").compute_dtype == "bfloat16"
    assert result.model.get_layer("probabilities").compute_dtype == "float32"
    keras.saving.load_model(tmp_path / "run" / "model.keras")
