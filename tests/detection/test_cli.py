"""`keras-cbam detect`: from photographs with boxes to proven files, and what it refuses."""

import json
import os
import shutil

import pytest

from keras_cbam.cli.detect_inputs import load_with_classes, tell_left_out
from keras_cbam.detection import DetectionSplit, LeftOut
from tests.backend import BACKEND
from tests.cli.running import run_here
from tests.detection.conftest import CLASSES
from tests.detection.data import BOXES, add, annotation, write_voc

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the command line exports")
pytest.importorskip("keras_hub", reason="needs the extra `detection`")
pytest.importorskip("pycocotools", reason="needs the extra `detection`")

TRAIN = ["--backbone=MobileNet", "--backbone-option=alpha=0.25", "--weights=none"]
TRAIN += ["--image-size=64x96", "--batch-size=2", "--epochs=1", "--head-layers=0"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    splits = {"train": list(BOXES), "val": ["a", "d"], "test": ["b", "c", "empty"]}
    root = write_voc(tmp_path_factory.mktemp("voc"), splits)
    (root / "JPEGImages" / "c.png").write_bytes(b"torn")
    return root


@pytest.fixture(scope="module")
def run(detector, found_photographs, tmp_path_factory):
    """A detector that is sure of some boxes, its labels, and those boxes as data."""
    root = tmp_path_factory.mktemp("run")
    detector.save(root / "model.keras")
    (root / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    (root / "JPEGImages").mkdir()
    for image in found_photographs:
        shutil.copy(image.path, root / "JPEGImages")
        boxes = [(CLASSES[i], *box) for i, box in zip(image.labels, image.boxes, strict=True)]
        add(root, "test", image.path.stem, annotation(boxes))
    return root


@pytest.mark.slow
def test_train_and_evaluate_beside_it(data, tmp_path):
    output = tmp_path / "run"
    done = run_here("detect", "train", data, "--output", output, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "train: left out, c.xml: image c.png: cannot be decoded" in done.stderr
    assert "train: without a box: empty.png" in done.stderr
    assert "best on val, epoch 1: mAP" in done.stdout
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    done = run_here("detect", "evaluate", output / "model.keras", data, "--output", output)
    assert done.returncode == 0, done.stderr
    assert {name: (output / name).read_bytes() for name in before} == before
    # What has found nothing yet is not exported.
    files = tmp_path / "files"
    options = ["--formats=onnx", "--calibration-split=none", "--runtimes=none"]
    done = run_here("detect", "export", output / "model.keras", data, "--output", files, *options)
    assert done.returncode == 1
    assert "nothing is proven" in done.stderr.replace("\n", " ")
    assert not files.exists()


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_run_goes_on(data, tmp_path, full_disk):
    whole = ("detect", "train", data, "--output", tmp_path / "run", *TRAIN)
    with full_disk("labels.txt"):
        done = run_here(*whole)
    assert done.returncode == 2
    assert "keras-cbam: No space is left on the disk." in done.stderr
    assert run_here(*whole, "--resume").returncode == 0
    assert (tmp_path / "run" / "report.md").exists()


def test_evaluate(run, tmp_path):
    output = tmp_path / "scores"
    done = run_here("detect", "evaluate", run / "model.keras", run, "--output", output)
    assert done.returncode == 0, done.stderr
    names = {"metrics.json", "detections.json", "detections.png", "evaluation.md"}
    assert {path.name for path in output.iterdir()} == names
    assert json.loads((output / "metrics.json").read_text())["mAP"] > 0.9
    rows = json.loads((output / "detections.json").read_text())
    assert {row["category"] for row in rows} == set(CLASSES)


def test_predict(run, data, tmp_path):
    output = tmp_path / "found"
    images = [run / "JPEGImages" / "0.png", data / "JPEGImages" / "c.png"]
    done = run_here("detect", "predict", run / "model.keras", *images, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr
    assert {path.name for path in output.iterdir()} == {"000-0.png", "detections.json"}
    assert "0.png: " in done.stdout


def test_predict_goes_on_after_long_images(run, tmp_path):
    """One of 1x10000 pixels took 7 GB, one of 3x3000 ended the rest."""
    from PIL import Image

    folder, output = tmp_path / "images", tmp_path / "found"
    folder.mkdir()
    for name, size in {"a" * 200: (1, 10_000), "b": (3, 3000), "c": (10_000, 1)}.items():
        Image.new("RGB", size).save(folder / f"{name}.png")
    shutil.copy(run / "JPEGImages" / "0.png", folder)
    images = [*sorted(folder.iterdir()), "--threshold=1"]
    done = run_here("detect", "predict", run / "model.keras", *images, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "0.png: nothing" in done.stdout
    drawn = sorted(output.glob("*.png"))
    expected = ["000-0.png", f"001-{'a' * 50}.png", "002-b.png", "003-c.png"]
    assert [path.name for path in drawn] == expected
    for path in drawn:
        with Image.open(path) as image:
            assert max(image.size) < 2000


def test_labels_may_have_a_byte_order_mark(run, tmp_path):
    shutil.copy(run / "model.keras", tmp_path)
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbf" + (run / "labels.txt").read_bytes())
    assert load_with_classes(tmp_path / "model.keras")[1] == CLASSES


def test_of_many_left_out_the_first_are_told(capsys):
    left_out = [LeftOut(f"{number}.xml", "its annotation is missing") for number in range(5000)]
    tell_left_out("test", DetectionSplit((), tuple(left_out)))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "test: left out, 0.xml: its annotation is missing"
    assert lines[20:] == ["test: left out, and 4980 more"]


@pytest.mark.slow
def test_export(run, tmp_path):
    output = tmp_path / "files"
    options = ["--formats=onnx", "--calibration-split=none", "--images=9", "--runtimes=none"]
    # The second export takes the place of the first.
    for _ in range(2):
        done = run_here("detect", "export", run / "model.keras", run, "--output", output, *options)
        assert done.returncode == 0, done.stderr + done.stdout
        assert (output / "model.onnx").exists()
        assert (output / "decoder.py").exists()
        assert "what is found in 9 images" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere", *TRAIN], "Expected a folder with ImageSets"),
        (["train", "DATA", *TRAIN, "--image-size=big"], "Expected an image size such as 320"),
        (["train", "DATA", *TRAIN, "--image-size=100"], "multiples of 32"),
        (["train", "DATA", *TRAIN, "--augment=mosaic"], "Expected augmentations of flip"),
        (["evaluate", "RUN/none.keras", "DATA"], "No file at"),
        (["evaluate", "RUN/model.keras", "DATA", "--split=other"], "Expected a split of"),
        (["evaluate", "RUN/model.keras", "DATA", "--val-split=0.5"], "no val split can be stated"),
        (["evaluate", "RUN/model.keras", "DATA", "--pictures=101"], "less than or equal to 100"),
        (["train", "DATA", *TRAIN, "--val-split=0.5"], "no val split can be stated"),
        (["predict", "RUN/model.keras", "DATA/JPEGImages/c.png"], "None of the images"),
        (["export", "RUN/model.keras", "DATA", "--formats=coreml"], "coreml"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, data, run, tmp_path):
    named = [each.replace("DATA", str(data)).replace("RUN", str(run)) for each in arguments]
    done = run_here("detect", *named, "--output", tmp_path / "output")
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "output").exists()


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    """Before the detector is read, since no file of results could hold it."""
    image = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    done = run_here(
        "detect", "predict", tmp_path / "none.keras", image, "--output", tmp_path / "output"
    )
    assert done.returncode == 2
    assert "Expected names in UTF-8. Received: b'" in done.stderr
    assert not (tmp_path / "output").exists()
