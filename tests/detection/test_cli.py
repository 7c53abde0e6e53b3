"""`keras-cbam detect`: from photographs with boxes to proven files, and what it refuses."""

import json
import shutil

import pytest

from tests.cli.running import run_here
from tests.conftest import BACKEND
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
def trained(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("detect") / "run"
    done = run_here("detect", "train", data, "--output", output, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "train: left out, c.xml: image c.png: cannot be decoded" in done.stderr
    assert "train: without a box: empty.png" in done.stderr
    assert "best on val, epoch 1: mAP" in done.stdout
    return output


def test_evaluate(data, trained, tmp_path):
    output = tmp_path / "scores"
    model = trained / "model.keras"
    done = run_here("detect", "evaluate", model, data, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "test: without a box: empty.png" in done.stderr
    names = {"metrics.json", "detections.json", "detections.png", "evaluation.md"}
    assert {path.name for path in output.iterdir()} == names
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["mAP"] is not None
    rows = json.loads((output / "detections.json").read_text())
    assert {row["file_name"] for row in rows} <= {"b.png", "empty.png"}


def test_predict(data, trained, tmp_path):
    output = tmp_path / "found"
    images = [data / "JPEGImages" / "a.png", data / "JPEGImages" / "c.png"]
    done = run_here("detect", "predict", trained / "model.keras", *images, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr
    assert {path.name for path in output.iterdir()} == {"000-a.png", "detections.json"}
    assert "a.png: " in done.stdout


@pytest.fixture(scope="module")
def sure(detector, found_photographs, tmp_path_factory):
    """A detector that is sure of some boxes, and those as its data."""
    root = tmp_path_factory.mktemp("sure")
    detector.save(root / "model.keras")
    (root / "labels.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    (root / "JPEGImages").mkdir()
    for image in found_photographs:
        shutil.copy(image.path, root / "JPEGImages")
        boxes = [(CLASSES[i], *box) for i, box in zip(image.labels, image.boxes, strict=True)]
        add(root, "test", image.path.stem, annotation(boxes))
    return root


def test_export(sure, tmp_path):
    output = tmp_path / "files"
    options = ["--formats=onnx", "--calibration-split=none", "--images=9", "--runtimes=none"]
    done = run_here("detect", "export", sure / "model.keras", sure, "--output", output, *options)
    assert done.returncode == 0, done.stderr + done.stdout
    assert (output / "model.onnx").exists()
    assert (output / "decoder.py").exists()
    assert "what is found in 9 images" in done.stdout
    # A second export takes the place of the first.
    done = run_here("detect", "export", sure / "model.keras", sure, "--output", output, *options)
    assert done.returncode == 0, done.stderr + done.stdout


def test_what_finds_nothing_is_not_exported(data, trained, tmp_path):
    output = tmp_path / "files"
    options = ["--formats=onnx", "--calibration-split=none", "--runtimes=none"]
    model = trained / "model.keras"
    done = run_here("detect", "export", model, data, "--output", output, *options)
    assert done.returncode == 1
    assert "nothing is proven" in done.stderr.replace("\n", " ")
    assert not output.exists()


def test_evaluation_leaves_a_run_as_it_is(data, trained):
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    done = run_here("detect", "evaluate", trained / "model.keras", data, "--output", trained)
    assert done.returncode == 0, done.stderr
    assert {name: (trained / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere", *TRAIN], "Expected a folder with ImageSets"),
        (["train", "DATA", *TRAIN, "--image-size=big"], "Expected an image size such as 320"),
        (["train", "DATA", *TRAIN, "--image-size=100"], "multiples of 32"),
        (["train", "DATA", *TRAIN, "--augment=mosaic"], "Expected augmentations of flip"),
        (["evaluate", "RUN/none.keras", "DATA"], "No file at"),
        (["evaluate", "RUN/model.keras", "DATA", "--split=other"], "Expected a split of"),
        (["predict", "RUN/model.keras", "DATA/JPEGImages/c.png"], "None of the images"),
        (["export", "RUN/model.keras", "DATA", "--formats=coreml"], "coreml"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message, data, trained, tmp_path):
    named = [each.replace("DATA", str(data)).replace("RUN", str(trained)) for each in arguments]
    done = run_here("detect", *named, "--output", tmp_path / "output")
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "output").exists()
