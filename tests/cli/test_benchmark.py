"""`keras-cbam benchmark`: every file beside another, whatever the times are."""

import json
import shutil

import pytest

from keras_cbam.errors import InputError
from keras_cbam.export.proof.manifest import size_and_hash
from keras_cbam.export.timing import time_artifacts
from tests.backend import BACKEND
from tests.cli.running import run_here

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    import keras
    import numpy as np

    from keras_cbam import CBAM
    from keras_cbam.export import export_model

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = CBAM()(keras.layers.Conv2D(16, 3, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    directory = tmp_path_factory.mktemp("benchmark") / "shipped"
    samples = np.random.default_rng(0).normal(size=(210, 16, 16, 3)).astype("float32")
    export_model(
        model,
        directory,
        formats=("tflite", "onnx"),
        precisions=("float32", "int8"),
        representative_dataset=samples[:50],
        verification_data=samples,
        runtimes=(),
        on_mismatch="report",
    )
    return directory


def test_each_file_beside_the_first_of_its_runtime(shipped):
    done = run_here("benchmark", shipped, "--runs", "3")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if "model" in line]
    assert [[cell.strip() for cell in row[:2]] for row in rows] == [
        ["model_float32.tflite", "model_float32.tflite"],
        ["model_int8.tflite", "model_float32.tflite"],
        ["model.onnx", "model.onnx"],
        ["model_int8.onnx", "model.onnx"],
    ]
    assert [row[2].strip() for row in (rows[0], rows[2])] == ["x 1.000"] * 2
    assert all(float(row[4]) > 0 for row in rows)


def test_each_file_beside_that_of_another_export(shipped, tmp_path):
    other = shutil.copytree(shipped, tmp_path / "other")
    found = time_artifacts(shipped, other, runs=3)
    assert [each.base for each in found] == [str(other / each.name) for each in found]
    assert all(each.minimum > 0 and each.median > 0 for each in found)


def test_refusals(shipped, tmp_path):
    done = run_here("benchmark", tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    other = shutil.copytree(shipped, tmp_path / "other")
    (other / "model_int8.tflite").write_bytes(b"no model")
    manifest = json.loads((other / "manifest.json").read_text())
    for entry in manifest["artifacts"]:
        entry["bytes"], entry["sha256"] = size_and_hash(other / entry["name"])
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"cannot be timed: runtimes\.stopwatch ended with"):
        time_artifacts(other, runs=3)
