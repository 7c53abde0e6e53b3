"""Exported detectors find what Keras finds, and their decoder needs nothing but NumPy."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from keras_cbam.detection import Predictor
from keras_cbam.detection import export as exporting
from keras_cbam.detection.export import export_detector
from keras_cbam.detection.letterbox import letterbox, letterboxed
from keras_cbam.detection.matching import Match
from keras_cbam.errors import InputError
from keras_cbam.export import VerificationError, verify
from tests.backend import BACKEND
from tests.detection.conftest import CLASSES, SIZE

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow exports")
pytest.importorskip("keras_hub", reason="needs the extra `detection`")
pytest.importorskip("pycocotools", reason="needs the extra `detection`")

WRITTEN = {
    "anchors.npy",
    "decoder.py",
    "detections.md",
    "detector.json",
    "manifest.json",
    "model.onnx",
    "model_float32.tflite",
    "reference.npz",
}


@pytest.fixture(scope="module")
def exported(detector, found_photographs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("export")
    runtimes = ("openvino",) if find_spec("openvino") else ()
    result = export_detector(detector, directory, found_photographs, CLASSES, runtimes=runtimes)
    return directory, result


def test_artifacts_find_what_keras_finds(exported, detector, found_photographs, tmp_path):
    directory, result = exported
    assert {path.name for path in directory.iterdir()} == WRITTEN
    ours = result.agreements["Keras"]
    assert ours.metrics["mAP"] > 0.9
    assert ours.match.reference > 20
    for artifact in result.report.artifacts:
        found = result.agreements[artifact.name]
        assert found.match.share == 1
        assert found.metrics["mAP"] == pytest.approx(ours.metrics["mAP"], abs=5e-3)
        assert artifact.verdict == "verified"
    table = (directory / "detections.md").read_text().splitlines()
    assert len(table) == 2 + len(result.agreements) == 2 + 1 + 2
    again = verify(directory, runtimes=())
    assert len(again.artifacts) == 2
    assert again.missed == ()
    assert_the_decoder_needs_numpy_alone(directory, detector, found_photographs, tmp_path)


def assert_the_decoder_needs_numpy_alone(directory, detector, found_photographs, tmp_path):
    """As a client does: the artifact's runtime, the shipped files, no Keras."""
    image = found_photographs[0]
    pixels, _ = letterboxed(image, SIZE)
    np.save(tmp_path / "pixels.npy", pixels[None])
    code = (
        "import json, sys, numpy as np, onnxruntime\n"
        "import decoder\n"
        "settings = json.load(open('detector.json'))\n"
        "session = onnxruntime.InferenceSession('model.onnx')\n"
        "pixels = np.load(sys.argv[1])\n"
        "values = session.run(settings['outputs'], {session.get_inputs()[0].name: pixels})\n"
        "anchors = np.load('anchors.npy')\n"
        "found = decoder.decode(*(v[0] for v in values), anchors, **settings['decoding'])\n"
        "print(json.dumps([x.tolist() for x in found] + [settings['classes']]))\n"
        "assert not {'keras', 'keras_cbam'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "pixels.npy")]
    said = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    boxes, scores, labels, classes = json.loads(said.stdout)
    expected = Predictor(detector)([image])[0]
    assert classes == list(CLASSES)
    assert len(expected.labels) > 1
    assert labels == expected.labels.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-4)
    fit = letterbox(image.size, SIZE)
    np.testing.assert_allclose(fit.boxes_out(np.array(boxes)), expected.boxes, atol=0.05)


@pytest.mark.parametrize(
    ("precision", "mean_average_precision", "matched", "missed"),
    [
        ("float32", 0.796, 99, []),
        ("float32", 0.794, 99, ["mAP falls by 0.60 points, expected at most 0.5"]),
        ("float16", 0.794, 10, ["mAP falls by 0.60 points, expected at most 0.5"]),
        ("float32", 0.8, 98, ["98.0% of boxes match, expected at least 99%"]),
        ("int8", 0.771, 0, []),
        ("int8", 0.769, 0, ["mAP falls by 3.10 points, expected at most 3"]),
        ("dynamic", 0.9, 0, []),
        ("int8", None, 0, ["mAP falls by 80.00 points, expected at most 3"]),
    ],
)
def test_what_is_asked(precision, mean_average_precision, matched, missed):
    ours = exporting.Agreement("float32", {"mAP": 0.8}, Match(100, 100, 1.0))
    unsure = exporting.Agreement("float32", {"mAP": 0.8}, Match(0, 0, 1.0))
    metrics = {"mAP": mean_average_precision}
    found = exporting.Agreement(precision, metrics, Match(100, matched, 0.9))
    assert exporting._misses(found, ours) == missed
    assert exporting._misses(found, unsure) == [
        "Keras finds no box with a score of at least 0.5, so nothing is proven"
    ]


@pytest.mark.slow
def test_another_detector_is_found(detector, found_photographs, tmp_path, monkeypatch):
    """Outputs as the tolerance wants them, whose boxes are others: nothing is exported."""
    right = Predictor.decode
    calls = []

    def moved(*arguments):
        """Keras's own boxes where they are, those of the artifact elsewhere."""
        calls.append(arguments)
        moves = 6 * (len(calls) > 1)
        return [each._replace(boxes=each.boxes + moves) for each in right(*arguments)]

    monkeypatch.setattr(Predictor, "decode", moved)
    with pytest.raises(VerificationError, match=r"mAP falls by .* points, expected at most 0.5"):
        export_detector(
            detector,
            tmp_path / "export",
            found_photographs,
            CLASSES,
            formats=["onnx"],
            precisions=["float32"],
            runtimes=(),
        )
    assert not (tmp_path / "export").exists()
    with pytest.raises(InputError, match="Expected the names of the detector's 2 classes"):
        export_detector(detector, tmp_path / "export", found_photographs, ["one"])
    with pytest.raises(InputError, match="Expected images with boxes"):
        export_detector(detector, tmp_path / "export", [], CLASSES)
