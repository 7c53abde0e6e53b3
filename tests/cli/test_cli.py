"""The command line: one sentence and exit code 2 for bad input; kills and resumes."""

import json
import os
import random
import signal
import subprocess
import time

import keras
import numpy as np
import pytest
import torch

from keras_cbam.model_file import load_model
from tests.backend import BACKEND
from tests.checkpoints.torch_networks import ResNet, randomized
from tests.cli.running import command, run, run_here
from tests.drawn import write_images
from tests.short_mobilenet import SHORT

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the command runs one backend")

TINY = [
    *("--backbone", "MobileNet", "--backbone-option", "alpha=0.25", "--weights", "none"),
    *("--image-size", "32", "--batch-size", "4", "--epochs", "2", "--val-split", "0.25"),
    *("--attention", "spatial", "--points", "last_stage"),
]


def test_points_are_shown_with_what_they_add():
    arguments = ["points", "VGG16", "--image-size", "32", "--attention", "channel"]
    done = run_here(*arguments)
    assert done.returncode == 0, done.stderr
    # Two biased layers between C channels and C / 16: 64, 128, 256, 512 and 512 channels.
    expected = [2 * c * (c // 16) + c // 16 + c for c in (64, 128, 256, 512, 512)]
    row = next(line for line in done.stdout.splitlines() if "block3_conv3" in line)
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells == ["block3_conv3", "3", "1", "8 x 8 x 256", f"{expected[2]:,}"]
    assert f"channel at 5 points of vgg16 adds {sum(expected):,} parameters" in done.stdout

    shown = json.loads(
        run_here(*arguments, "--points", "block1_conv2,block5_conv3", "--json").stdout
    )
    assert [point["added_parameters"] for point in shown["points"]] == [expected[0], expected[4]]
    assert shown["points"][1]["shape"] == [None, 2, 2, 512]
    assert shown["added_parameters"] == shown["added_trainable"] == expected[0] + expected[4]


def test_points_of_a_saved_model(tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu", name="only")(inputs)
    x = keras.layers.Dense(2)(keras.layers.Flatten()(x))
    keras.Model(inputs, x).save(tmp_path / "model.keras")
    done = run_here("points", tmp_path / "model.keras", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert [(p["layer"], p["shape"]) for p in shown["points"]] == [("only", [None, 14, 14, 8])]
    done = run_here("points", tmp_path / "model.keras", "--image-size", "64")
    assert done.returncode == 2
    assert "go with a builder" in done.stderr


def test_models_are_listed():
    done = run_here("models", "ResNet18", "MobileNet-1.0", "--attention", "none,cbam")
    assert done.returncode == 0, done.stderr
    rows = [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]
    assert len(rows) == 2 + 4
    assert "| ResNet18 | cbam | 11,779,392 | 1.815G | 11.78M | 1.815 | 29.27 | 10.09 |" in rows
    done = run_here("models", "ResNet18", "--attention", "bam", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["network"], row["attention"], row["parameters"]) == ("ResNet18", "bam", 11_712_503)
    assert row["published"] is None


def test_checkpoint_is_converted(tmp_path):
    torch.save(randomized(ResNet((1, 1), False, "cbam")).state_dict(), tmp_path / "small.pth")
    options = ["--image-size", "64", "--include-preprocessing"]
    done = run_here(
        "convert", tmp_path / "small.pth", "--output", tmp_path / "small.keras", *options
    )
    assert done.returncode == 0, done.stderr
    assert "on 4 random images" in done.stdout
    model = load_model(tmp_path / "small.keras")
    assert model.name == "resnet6_cbam"
    assert model.input.shape == (None, 64, 64, 3)
    assert model.layers[1].name == "preprocessing"


@pytest.fixture
def bad(image_folder, tmp_path):
    """Inputs that cannot be used, by name."""
    (tmp_path / "empty").mkdir()
    (image_folder.parent / "lacking" / "a").mkdir(parents=True)
    (image_folder.parent / "lacking" / "b").mkdir()
    for name in ("latin", "lines"):
        write_images(tmp_path / name, np.random.default_rng(0), count=1)
    red = tmp_path / "latin" / "red"
    (red / "0.jpg").rename(red / os.fsdecode(b"caf\xe9.jpg"))
    (tmp_path / "lines" / "red").rename(tmp_path / "lines" / "re\u2028d")
    (tmp_path / "heic" / "a").mkdir(parents=True)
    (tmp_path / "heic" / "b").mkdir()
    (tmp_path / "heic" / "a" / "photo.heic").write_bytes(b"")
    (tmp_path / "text.keras").write_text("no model")
    (tmp_path / "file").write_text("in the way")
    return tmp_path


def finetune(data, *changes):
    return ["finetune", data, *TINY, *changes]


CASES = {
    "empty folder": (lambda d: finetune(d / "empty", "--output", d / "out"), "at least 2 classes"),
    "class without image": (
        lambda d: finetune(d / "lacking", "--output", d / "out"),
        "has no image",
    ),
    "class of another suffix": (
        lambda d: finetune(d / "heic", "--output", d / "out"),
        "Left out: 1, such as photo.heic",
    ),
    "file name in another encoding": (
        lambda d: finetune(d / "latin", "--output", d / "out"),
        "Expected names in UTF-8. Received: b'",
    ),
    "class of two lines": (
        lambda d: finetune(d / "lines", "--output", d / "out"),
        "Received: 're\\u2028d'",
    ),
    "wrong backbone": (
        lambda d: finetune(d / "images", "--output", d / "out", "--backbone", "MobileNetV9"),
        "Received: MobileNetV9",
    ),
    "missing weights": (
        lambda d: finetune(d / "images", "--output", d / "out", "--weights", "none.h5"),
        "No file at: none.h5",
    ),
    "output is a file": (
        lambda d: finetune(d / "images", "--output", d / "file" / "out"),
        "Received a file",
    ),
    "not writable": (
        lambda d: finetune(d / "images", "--output", "/proc/out"),
        "Cannot write to directory /proc/out",
    ),
    "not a model": (
        lambda d: [
            *("export", d / "text.keras", "--output", d / "out", "--verification", d / "images")
        ],
        "a file that is not one",
    ),
    "points of another backbone": (lambda d: ["points", "MobileNetV9"], "Received: MobileNetV9"),
    "points of no model": (lambda d: ["points", d / "text.keras"], "a file that is not one"),
    "points that are not there": (
        lambda d: ["points", "VGG16", "--image-size", "32", "--points", "block1_conv1"],
        "block1_conv2",
    ),
    "models of another network": (lambda d: ["models", "ResNet19"], "Received: ResNet19"),
    "models with another attention": (
        lambda d: ["models", "ResNet18", "--attention", "none,cbma"],
        "Expected attentions of none, se, cbam, bam. Received: none,cbma",
    ),
    "checkpoint of text": (
        lambda d: ["convert", d / "text.keras", "--output", d / "out.keras"],
        "which PyTorch cannot read",
    ),
    "checkpoint to no model": (
        lambda d: ["convert", d / "text.keras", "--output", d / "out.pth"],
        "Expected a .keras file to write",
    ),
    "unknown points": (
        lambda d: finetune(d / "images", "--output", d / "out", "--points", "middle"),
        "Expected points of stage_ends, last_stage. Received: middle",
    ),
    "unknown augmentation": (
        lambda d: finetune(d / "images", "--output", d / "out", "--augment", "mixup"),
        "crop, flip, color. Received: mixup",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence(case, bad):
    make, message = CASES[case]
    before = {p.name for p in bad.iterdir()}
    done = run_here(*make(bad))
    said = [line for line in done.stderr.splitlines() if line.startswith("keras-cbam: ")]
    assert done.returncode == 2
    assert len(said) == 1
    assert message in said[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert {p.name for p in bad.iterdir()} == before


@pytest.mark.usefixtures("short_mobilenet")
def test_finetune_names_corrupt_files_and_export_follows(image_folder, tmp_path):
    (image_folder / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    small = ["--backbone", SHORT, "--backbone-option", "blocks=2"]
    done = run_here(*finetune(image_folder, "--output", tmp_path / "run", *small))
    assert done.returncode == 0, done.stderr
    assert "broken.jpg" in done.stdout.replace("\n", "")
    report = (tmp_path / "run" / "report.md").read_text()
    assert "left out because they could not be decoded: 1" in report
    assert "broken.jpg" in report

    model = tmp_path / "run" / "model.keras"
    arguments = ["export", model, "--output", tmp_path / "export"]
    arguments += ["--formats", "onnx,tflite"]
    options = ["--report", "--target", "npu", "--runtimes", "none"]
    done = run_here(*arguments, "--verification", image_folder, *options)
    assert done.returncode == 0, done.stderr
    assert "where the operations run" in done.stdout
    assert "| model.onnx | layout |" in (tmp_path / "export" / "report.md").read_text()
    manifest = json.loads((tmp_path / "export" / "manifest.json").read_text())
    assert manifest["labels"] == ["blue", "red"]
    assert manifest["accuracy"] is not None
    assert manifest["options"]["target"] == "npu"
    assert manifest["artifacts"][0]["elsewhere"] == []
    assert run_here("verify", tmp_path / "export").returncode == 0
    (tmp_path / "export" / "model.onnx").write_bytes(b"another file")
    done = run_here("verify", tmp_path / "export", "--report")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "SHA-256 differs" in done.stdout.replace("\n", " ")
    done = run_here(*finetune(image_folder, "--output", tmp_path / "run"))
    assert done.returncode == 2
    assert "finished run" in done.stderr.replace("\n", " ")


def test_export_chooses_tensorflow_itself():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        command("export", "none.keras", "--output", "x", "--verification", "y"),
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert "No file at: none.keras" in done.stderr


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(image_folder, tmp_path):
    """Ten kills, at any moment from the start of the process to its end; most find it at work."""
    resumed = 0
    draw = random.Random(0)
    whole = finetune(image_folder, "--checkpoint-seconds", "0", "--output")
    start = time.monotonic()
    assert run(*whole, tmp_path / "whole").returncode == 0
    length = time.monotonic() - start
    for number in range(10):
        output = tmp_path / f"run{number}"
        process = subprocess.Popen(
            command(*whole, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(draw.uniform(0.1, 0.8) * length)
        process.send_signal(draw.choice([signal.SIGKILL, signal.SIGINT]))
        process.wait()
        finished = (output / "report.md").exists()
        left = sorted(p.name for p in output.iterdir()) if output.exists() else []
        done = run(*whole, output, "--resume")
        resumed += ".state" in left
        print(number, "left", left, "then", done.returncode)
        assert done.returncode == (2 if finished else 0), done.stderr
        load_model(output / "model.keras")
        assert len(json.loads((output / "history.json").read_text())["epochs"]) == 2
        assert not (output / ".state").exists()
    assert resumed >= 5
