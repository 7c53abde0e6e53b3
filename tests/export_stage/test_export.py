"""The export: artifacts that answer as Keras does, or nothing at all."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_cbam.errors import InputError, MissingPackageError
from keras_cbam.export import ARTIFACTS, VerificationError, export_model, load_model
from keras_cbam.export.children.arrays import save_arrays
from keras_cbam.export.children.process import RuntimeFailure
from keras_cbam.export.formats import Tolerance
from keras_cbam.export.proof.judging import CLASSES, THRESHOLD, VALUES
from keras_cbam.export.proof.manifest import read_manifest, write_manifest
from keras_cbam.export.proof.parity import Parity, accuracy, compare, differing_shapes
from keras_cbam.export.proof.report import ArtifactReport, Report
from keras_cbam.export.runtimes.table import run_artifact
from keras_cbam.export.source.prepare import Prepared
from tests.backend import BACKEND
from tests.drawn import vary
from tests.export_stage.conftest import LABELS, small_network

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


ALWAYS = {"manifest.json", "reference.npz"}


def test_every_artifact_is_verified(everything):
    directory, report = everything
    assert {p.name for p in directory.iterdir()} == {a.name for a in ARTIFACTS} | ALWAYS
    assert report.verified
    assert report.spread > 0.5
    assert report.accuracy == pytest.approx(1 - 12 / 240)
    rows = {a.name: a for a in report.artifacts}
    for name in ("saved_model", "model_float32.tflite", "model.onnx"):
        (parity,) = rows[name].parity
        assert parity.output == "probabilities"
        assert parity.largest_error < 1e-4
        assert parity.agreement == 1
        assert parity.accuracy == report.accuracy
    (parity,) = rows["model_int8.tflite"].parity
    assert parity.largest_error > 1e-4
    assert parity.agreement >= 0.98
    assert "1 XNNPACK partition, all in it" in rows["model_float32.tflite"].notes
    assert "1 XNNPACK partition, outside: SOFTMAX of int8" in rows["model_int8.tflite"].notes
    assert "1 Transpose" in rows["model.onnx"].notes


def test_manifest_describes_the_files(everything):
    directory, report = everything
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["labels"] == LABELS
    assert manifest["inputs"][0]["name"] == "image"
    assert manifest["inputs"][0]["shape"] == [None, 24, 24, 3]
    for entry in manifest["artifacts"]:
        path = directory / entry["name"]
        if path.is_file():
            content = path.read_bytes()
            assert entry["bytes"] == len(content)
            assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert report.markdown().count("| verified |") == len(report.rows())


def test_no_flex_operation_no_zero_scale(everything):
    from keras_cbam.export.tflite.graph import Graph
    from keras_cbam.export.tflite.scales import zero_scales

    directory, _ = everything
    for name in ("model_float32.tflite", "model_int8.tflite"):
        graph = Graph((directory / name).read_bytes())
        assert "CUSTOM" not in {kind for kind, _ in graph.operations()}
        assert not zero_scales(graph)


def test_names_are_fixed_in_every_format(everything):
    directory, _ = everything
    code = """
import sys, onnxruntime, tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
d = sys.argv[1]
s = onnxruntime.InferenceSession(d + "/model.onnx")
i, o = s.get_inputs(), s.get_outputs()
print([x.name for x in i], [x.name for x in o], i[0].shape[1:])
print(Interpreter(d + "/model_int8.tflite").get_signature_list())
f = tf.saved_model.load(d + "/saved_model").signatures["serving_default"]
print(list(f.structured_input_signature[1]), list(f.structured_outputs))
"""
    command = [sys.executable, "-c", code, str(directory)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[-3:] == [
        "['image'] ['probabilities'] [24, 24, 3]",
        "{'serving_default': {'inputs': ['image'], 'outputs': ['probabilities']}}",
        "['image'] ['probabilities']",
    ]


def test_an_artifact_that_differs_is_refused(network, images, tmp_path, monkeypatch):
    """An artifact of a network whose weights moved a little must not pass for the original."""
    other = keras.models.clone_model(network)
    other.set_weights([w * 1.02 for w in network.get_weights()])
    answers = {"probabilities": other.predict(images, verbose=0)}
    monkeypatch.setattr(Prepared, "answers", lambda self, inputs: answers)
    with pytest.raises(VerificationError, match=r"model.onnx in onnxruntime: probabilities: larg"):
        export_model(network, tmp_path / "out", formats=["onnx"], verification_data=images)
    assert list(tmp_path.iterdir()) == []
    report = export_model(
        network,
        tmp_path / "out",
        formats=["onnx"],
        verification_data=images,
        on_mismatch="report",
    )
    assert not report.verified
    assert "MISSED" in report.markdown()


def test_a_file_that_kills_its_runtime_is_reported(tmp_path, images):
    save_arrays(tmp_path / "inputs.npz", {"image": images[:1]})
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"not a model at all")
    with pytest.raises(RuntimeFailure, match="ended with an error: ValueError"):
        run_artifact("litert", bad, tmp_path / "inputs.npz")


def test_few_inputs_and_constant_outputs_warn(images, tmp_path):
    constant = small_network()
    constant.get_layer("probabilities").kernel.assign(np.zeros((24, 4)))
    report = export_model(
        constant, tmp_path / "out", formats=["onnx"], verification_data=images[:8]
    )
    assert any("judged on 8 inputs" in w for w in report.warnings)
    assert any("too little for parity" in w for w in report.warnings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formats": ["tflight"]}, "Expected a format of saved_model, tflite, onnx.*tflight"),
        ({"formats": []}, "Expected a format"),
        ({"precisions": ["int4"]}, "Expected a precision of float32, .* int16x8. Received: int4"),
        ({"precisions": ["int8"]}, "int8 needs a representative dataset"),
        (
            {"formats": ["onnx"], "precisions": ["dynamic"]},
            "No format of onnx comes in precision dynamic",
        ),
        ({"opset": 99}, "Expected an ONNX opset of 13 to 18. Received: 99"),
        ({"target": None}, "Expected a target of .*. Received: None"),
        ({"integer_io": "int4"}, "integer_io of int8, uint8, float32. Received: int4"),
        ({"batch_size": 0}, "batch_size of 1 or more. Received: 0"),
        (
            {"float_layers": ["conv0"]},
            r"has the option float_layers: model_int8.tflite, model_int8",
        ),
        ({"preprocessing": "AlexNet"}, "pixel range of backbone AlexNet is not known"),
        ({"calibration_images": 0}, "calibration_images >= 1. Received: 0"),
        ({"verification_data": "nowhere"}, "verification_data to be a folder of images. No folder"),
        ({"verification_data": np.zeros((3, 8, 8, 3))}, r"verification_data of shape .*24, 24, 3"),
        ({"labels": ["a"]}, "Expected 4 labels, one per class. Received: 1"),
        ({"on_mismatch": "ignore"}, "'raise' or 'report'. Received: ignore"),
    ],
)
def test_bad_arguments_leave_nothing(changes, message, network, images, tmp_path):
    arguments = {"verification_data": images, **changes}
    with pytest.raises(InputError, match=message):
        export_model(network, tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


class Doubled(keras.Model):
    """A model that is no graph."""

    def call(self, inputs):
        return 2 * inputs


def test_models_that_cannot_be_exported(images, tmp_path):
    endless = small_network()
    endless.get_layer("probabilities").bias.assign(np.full(4, np.nan))
    for model, message in (
        ("model.keras", "Expected a keras.Model. Received: str"),
        (Doubled(), "neither functional nor built"),
        (endless, "finite outputs. Received: NaN or infinity in probabilities"),
    ):
        with pytest.raises(InputError, match=message):
            export_model(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"nothing like it", b""])
def test_a_file_that_is_no_model(content, tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(InputError, match="No file at"):
        load_model(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match="Received a file that is not one"):
        load_model(path)


def test_tolerances_judge_each_bound():
    parity = Parity("y", 0.5, 0.1, 0.5, 20.0, 0.97, 0.9, -0.02)
    assert parity.misses(Tolerance(None, 0.97, 0.02)) == []
    assert len(parity.misses(Tolerance(0.4, 0.98, 0.01))) == 3


def test_a_second_export_leaves_nothing_of_the_first(network, images, tmp_path):
    for formats, expected in (
        (["onnx"], {"model.onnx", *ALWAYS}),
        (["tflite"], {"model_float32.tflite", "mine.txt", *ALWAYS}),
    ):
        export_model(network, tmp_path, formats=formats, verification_data=images)
        (tmp_path / ".partial-killed").mkdir()
        assert {p.name for p in tmp_path.iterdir()} == {*expected, ".partial-killed"}
        (tmp_path / "mine.txt").write_text("kept")
    (tmp_path / "model.onnx").write_text("not of the last export")
    with pytest.raises(InputError, match=r"model.onnx is in the way"):
        export_model(network, tmp_path, formats=["onnx"], verification_data=images)


def test_what_is_missing_is_said_before_the_work(network, images, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(MissingPackageError, match=r"onnxruntime .*'keras-cbam\[onnx\]'"):
        export_model(network, tmp_path / "out", formats=["onnx"], verification_data=images)
    assert list(tmp_path.iterdir()) == []


def test_outputs_of_another_shape_are_missed():
    expected = {"y": np.zeros((3, 4))}
    assert differing_shapes({"y": np.zeros((3, 4))}, expected) == []
    for found in ({"y": np.zeros((3, 1))}, {"z": np.zeros((3, 4))}, {}):
        assert len(differing_shapes(found, expected)) == 1


def test_files_that_no_export_wrote_stay(network, images, tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(InputError, match=r"manifest.json is in the way, and no manifest"):
        export_model(network, tmp_path, formats=["onnx"], verification_data=images)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_labels_are_of_the_first_output():
    outputs = {"scores": np.eye(3), "features": np.eye(3)}
    first, second = compare(outputs, outputs, np.array([0, 1, 1]), dict.fromkeys(outputs, CLASSES))
    assert first.accuracy == pytest.approx(2 / 3)
    assert second.accuracy is None


def test_answers_that_are_not_finite_are_kept_and_read_again(tmp_path):
    expected = {"y": np.array([[0.0, 1.0], [1.0, 0.0]])}
    parity = compare({"y": np.full((2, 2), np.inf)}, expected, None, {"y": CLASSES})
    assert parity[0].misses(Tolerance(None, 0.5)) == [
        "y: values that are not finite, where Keras's are"
    ]
    artifact = ArtifactReport("model.onnx", "onnx", "float32", "onnxruntime", 1, "", parity)
    x = {"name": "x", "shape": [None, 2], "dtype": "float32", "range": [0.0, 1.0]}
    y = {"name": "y", "shape": [None, 2]}
    report = Report("", (x,), (y,), {}, 2, False, 1.0, None, (artifact,))
    write_manifest(report, tmp_path / "manifest.json")
    again = read_manifest(tmp_path)
    assert again == replace(report, directory=str(tmp_path))
    assert again.artifacts[0].parity[0].largest_error == np.inf
    assert again.rows()[0][4] == "inf"


def test_accuracy_is_of_outputs_that_tell_classes():
    scores, labels = np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])
    assert accuracy(scores, labels, CLASSES) == 0.5
    assert accuracy(scores, None, CLASSES) is None
    assert accuracy(scores[:, :1], labels, THRESHOLD) == 0.5
    assert accuracy(scores[:, :1], labels, VALUES) is None
    assert accuracy(scores, labels, VALUES) is None


def test_grouped_convolutions_are_exported(images, tmp_path):
    """Keras compiles them as functions of their own, which ONNX cannot call."""
    inputs = keras.Input((24, 24, 3), name="image")
    x = keras.layers.Conv2D(16, 3, strides=2)(inputs)
    x = keras.layers.Conv2D(32, 3, groups=4, activation="relu")(x)
    model = vary(keras.Model(inputs, keras.layers.GlobalMaxPooling2D(name="features")(x)))
    formats = ["tflite", "onnx"]
    report = export_model(model, tmp_path / "out", formats=formats, verification_data=images / 255)
    assert report.spread > 0.1
    assert [artifact.format for artifact in report.artifacts] == formats
