"""Whatever an export dies of, nothing under a final name is unverified, and it can be run again."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import ARTIFACTS, export_model, load_model, verify
from keras_cbam.export.children.arrays import load_arrays, save_arrays
from keras_cbam.export.children.process import RuntimeFailure
from keras_cbam.export.publish import check_ours, publish
from keras_cbam.export.runtimes.table import run_artifact
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

EXPORT = """
import sys
import numpy as np
from keras_cbam.export import export_model, load_model
images = np.load(sys.argv[2])
print("ready", flush=True)
export_model(load_model(sys.argv[1]), sys.argv[3], formats=sys.argv[4:],
       representative_dataset=images[:20], verification_data=images)
print("done", flush=True)
"""
# Artifacts of any earlier export of these tests, by the runtime that they are run in.
RUNTIMES = {artifact.name: artifact.runtime for artifact in ARTIFACTS}


def assert_verified(directory, model, inputs):
    """Every artifact that is there answers as the model does."""
    expected = load_model(model).predict(load_arrays(inputs)["image"], verbose=0)
    for path in directory.iterdir() if directory.exists() else ():
        if path.name in RUNTIMES:
            found, _ = run_artifact(RUNTIMES[path.name], path, inputs)
            agreement = (found["probabilities"].argmax(1) == expected.argmax(1)).mean()
            assert agreement >= 0.98, path.name


@pytest.fixture(scope="module")
def files(network, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    network.save(folder / "model.keras")
    np.save(folder / "images.npy", images)
    save_arrays(folder / "inputs.npz", {"image": images})
    return folder


@pytest.mark.slow
def test_killed_twenty_times(files, tmp_path):
    directory = tmp_path / "out"
    draw = random.Random(0)
    killed = 0
    for attempt in range(20):
        formats = draw.choice((["tflite"], ["onnx", "saved_model"], ["saved_model", "tflite"]))
        arguments = [str(files / "model.keras"), str(files / "images.npy"), str(directory)]
        command = [sys.executable, "-c", EXPORT, *arguments, *formats]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0, 12))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert_verified(directory, files / "model.keras", files / "inputs.npz")
        if (directory / "manifest.json").exists():
            assert verify(directory).verified, attempt
    assert killed >= 10
    export_model(
        load_model(files / "model.keras"),
        directory,
        formats=["onnx"],
        verification_data=np.load(files / "images.npy"),
    )
    assert {path.name for path in directory.iterdir()} == {
        "model.onnx",
        "manifest.json",
        "reference.npz",
    }


def staged(folder, version, names):
    """Artifacts as an export leaves them before they are put in place; a directory in two files."""
    folder.mkdir()
    for name in names:
        if name == "saved_model":
            (folder / name).mkdir()
            (folder / name / "graph").write_text(version)
            (folder / name / "weights").write_text(version)
        else:
            (folder / name).write_text(version)
    listed = [{"name": name} for name in names if name not in ("manifest.json", "reference.npz")]
    (folder / "manifest.json").write_text(json.dumps({"artifacts": listed, "version": version}))
    return folder


@pytest.mark.parametrize("death", range(1, 10))
def test_dead_while_putting_in_place(death, tmp_path, monkeypatch):
    """At each renaming in turn, while an export replaces an earlier one."""
    directory = tmp_path / "out"
    directory.mkdir()
    old = ["saved_model", "model_int8.tflite", "reference.npz", "manifest.json"]
    new = ["saved_model", "model.onnx", "reference.npz", "manifest.json"]
    publish(staged(tmp_path / "first", "old", old), directory, old)
    rename, count = os.replace, 0

    def replace(source, target):
        nonlocal count
        count += 1
        if count == death:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            publish(staged(tmp_path / "second", "new", new), directory, new)
    for path in directory.iterdir():
        if path.name == "saved_model":
            assert len({(path / part).read_text() for part in ("graph", "weights")}) == 1
        elif path.name == "manifest.json":
            manifest = json.loads(path.read_text())
            for each in manifest["artifacts"]:
                found = directory / each["name"]
                found = found / "graph" if found.is_dir() else found
                assert found.read_text() == manifest["version"]
    last = ["model_float16.onnx", "reference.npz", "manifest.json"]
    check_ours(directory, last)
    publish(staged(tmp_path / "third", "last", last), directory, last)
    assert {path.name for path in directory.iterdir()} == set(last)


def test_a_full_disk_is_one_sentence(network, images, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match=r"No space is left in .*: nothing was written"):
        export_model(network, tmp_path / "out", formats=["tflite"], verification_data=images)
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_without_space_is_the_same(network, images, tmp_path, monkeypatch):
    def full(*arguments):
        raise RuntimeFailure(f"runtimes ended with an error: OSError: {os.strerror(28)}")

    monkeypatch.setattr("keras_cbam.export.verification.run_artifact", full)
    with pytest.raises(InputError, match="No space is left"):
        export_model(network, tmp_path / "out", formats=["onnx"], verification_data=images)
    assert list(tmp_path.iterdir()) == []
