"""Every format and precision of the table, and what a user may choose about them."""

import json
import shutil

import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import ARTIFACTS, export_model, verify
from keras_cbam.export.source.layer_names import owners
from keras_cbam.export.tflite.graph import Graph
from tests.backend import BACKEND, quick

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


LAYERS = ("conv0", "conv1", "cbam0", "cbam1")


def test_every_precision_is_verified(everything):
    _, report = everything
    assert [a.name for a in report.artifacts] == [a.name for a in ARTIFACTS]
    assert report.verified
    assert report.accuracy == pytest.approx(1 - 12 / 240)
    sqnr = {a.name: a.parity[0].sqnr or np.inf for a in report.artifacts}
    # Each rounds more than the one before it.
    for finer, coarser in (
        ("model_float32.tflite", "model_float16.tflite"),
        ("model_float16.tflite", "model_int16x8.tflite"),
        ("model_int16x8.tflite", "model_int8.tflite"),
        ("model.onnx", "model_float16.onnx"),
        ("model_float16.onnx", "model_int8.onnx"),
    ):
        assert sqnr[finer] > sqnr[coarser] + 3
    notes = {a.name: a.notes for a in report.artifacts}
    for precision in ("float32", "float16", "dynamic"):
        assert "1 XNNPACK partition, all in it" in notes[f"model_{precision}.tflite"]
    assert "1 XNNPACK partition, outside: SOFTMAX of int8" in notes["model_int8.tflite"]
    assert "serving_jpeg verified on 32 files" in notes["saved_model"]
    for name in ("model.onnx", "model_float16.onnx", "model_int8.onnx"):
        assert "1 Transpose" in notes[name]


def test_no_sum_of_two_products_saturates_16_bits(everything):
    """Processors without VNNI add two products of the int8 ONNX file in 16 bits."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(everything[0] / "model_int8.onnx").graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    rounded = {
        node.output[0]: values[node.input[0]].astype("int32")
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in values
    }
    weights = [
        rounded[node.input[1]]
        for node in graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in rounded
    ]
    assert len(weights) > len(LAYERS)
    # 2 x 255 x 64 is below 2^15, and a scale uses its range.
    assert {int(np.abs(weight).max()) for weight in weights} == {64}


def test_worst_layers_are_named(everything, network):
    _, report = everything
    layers = {layer.name for layer in network.layers}
    for artifact in report.artifacts:
        measured = artifact.format == "tflite" and artifact.precision in ("int8", "int16x8")
        assert bool(artifact.layers) == measured
        if measured:
            assert {error.layer for error in artifact.layers} <= layers
            assert {"cbam0", "cbam1", "probabilities"} <= {e.layer for e in artifact.layers}
            assert [e.sqnr for e in artifact.layers] == sorted(e.sqnr for e in artifact.layers)
            assert any(artifact.layers[0].layer in line for line in report.remarks())


def test_an_export_is_verified_again(everything):
    directory, before = everything
    report = verify(directory)
    assert report.verified
    assert [a.name for a in report.artifacts] == [a.name for a in before.artifacts]
    for first, again in zip(before.artifacts, report.artifacts, strict=True):
        # The reference holds the first 200 of the 240 images.
        assert again.parity[0].largest_error <= first.parity[0].largest_error + 1e-6
        assert again.parity[0].mean_error == pytest.approx(first.parity[0].mean_error, 0.2, 1e-6)


def copied_with(names, directory, folder):
    """A copy of an export with some of its artifacts."""
    copied = shutil.copytree(directory, folder / "copied")
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["artifacts"] = [each for each in manifest["artifacts"] if each["name"] in names]
    assert len(manifest["artifacts"]) == len(names)
    (copied / "manifest.json").write_text(json.dumps(manifest))
    return copied


def test_a_changed_artifact_is_found(everything, tmp_path):
    names = ["model.onnx", "model_int8.onnx", "model_float16.tflite"]
    copied = copied_with(names, everything[0], tmp_path)
    changed = copied / "model_int8.onnx"
    changed.write_bytes(changed.read_bytes() + b" ")
    (copied / "model_float16.tflite").unlink()
    report = verify(copied)
    missed = {a.name: a.missed for a in report.artifacts if a.missed}
    assert missed == {
        "model_int8.onnx": ("the file is not the one that was exported: its SHA-256 differs",),
        "model_float16.tflite": ("the file is missing",),
    }


def test_another_answer_is_found(everything, tmp_path):
    """A reference that differs stands for a runtime that does."""
    names = {"model_float32.tflite", "model.onnx"}
    copied = copied_with(names, everything[0], tmp_path)
    with np.load(copied / "reference.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["output/keras/probabilities"] = np.roll(arrays["output/keras/probabilities"], 1, 1)
    np.savez(copied / "reference.npz", **arrays)
    assert {a.name for a in verify(copied).artifacts if a.missed} == names


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("manifest.json", None, "Expected the directory of an export. No file at"),
        ("manifest.json", '{"layout": 99}', "of layout 2. Received: .*manifest.json of layout 99"),
        ("reference.npz", None, "Expected the reference of an export. No file at"),
        ("reference.npz", "no archive", "Expected an archive that unpacks. Received"),
        ("reference.npz", "", "Expected an archive that unpacks. Received"),
        ("reference.npz", "PK\x03\x04", "Expected an archive that unpacks. Received"),
        ("manifest.json", '{"layout": 2}', "an object with accuracy, artifacts, .*. Received: "),
    ],
)
def test_directories_that_cannot_be_verified(name, content, message, everything, tmp_path):
    (tmp_path / "manifest.json").write_text((everything[0] / "manifest.json").read_text())
    (tmp_path / "reference.npz").write_bytes((everything[0] / "reference.npz").read_bytes())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        verify(tmp_path)


def test_the_manifest_has_no_path_and_tells_all(everything):
    text = (everything[0] / "manifest.json").read_text()
    assert str(everything[0].parent) not in text
    manifest = json.loads(text)
    assert manifest["calibration_images"] == 100
    assert manifest["options"]["opset"] == 17
    assert manifest["preprocessing"] == {
        "rule": None,
        "in_graph": ["rescaling"],
        "takes": "RGB in 0..255",
        "assumed": True,
    }
    assert manifest["source"]["parameters"] > 1000
    assert {"keras", "tensorflow", "onnxruntime"} <= set(manifest["versions"])


@pytest.mark.parametrize("integer_io", quick(["uint8", "float32"], {"uint8"}))
def test_integer_io(integer_io, network, images, tmp_path):
    export_model(
        network,
        tmp_path,
        formats=["tflite"],
        precisions=["int8"],
        representative_dataset=images[:100],
        verification_data=images,
        integer_io=integer_io,
    )
    graph = Graph((tmp_path / "model_int8.tflite").read_bytes())
    assert graph.dtype(graph.inputs[0]) == integer_io
    assert graph.dtype(graph.outputs[0]) == integer_io


def test_float_layers_stay_float(everything, network, images, tmp_path):
    arguments = {
        "precisions": ["int8"],
        "representative_dataset": images[:100],
        "verification_data": images,
        "integer_io": "float32",
    }
    report = export_model(network, tmp_path, float_layers=["conv1", "cbam1"], **arguments)
    graph = Graph((tmp_path / "model_int8.tflite").read_bytes())
    outputs = [int(operation.outputs[0]) for _, operation in graph.operations()]
    types = {
        layer: {str(graph.dtype(o)) for o in outputs if [layer] in owners(graph.name(o), LAYERS)}
        for layer in LAYERS
    }
    assert types["conv1"] == types["cbam1"] == {"float32"}
    assert "int8" in types["conv0"]
    assert "int8" in types["cbam0"]
    without = {artifact.name: artifact.parity[0].sqnr for artifact in everything[1].artifacts}
    for artifact in report.artifacts:
        assert artifact.parity[0].sqnr > without[artifact.name]
    for formats, integer_io in (("tflite", "float32"), ("onnx", "int8")):
        options = {**arguments, "formats": formats, "integer_io": integer_io}
        with pytest.raises(InputError, match=r"layers that compute something.*absent"):
            export_model(network, tmp_path / "out", float_layers=["absent"], **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("batch_size", [4, None])
def test_batches_of_tflite(batch_size, network, images, tmp_path):
    report = export_model(
        network, tmp_path, formats=["tflite"], verification_data=images[:50], batch_size=batch_size
    )
    assert report.verified
    graph = Graph((tmp_path / "model_float32.tflite").read_bytes())
    found = graph.free_shape(graph.inputs[0])[0]
    assert found == (batch_size or -1)


def test_opset_is_the_one_asked_for(network, images, tmp_path):
    import onnx

    export_model(network, tmp_path, formats=["onnx"], verification_data=images[:50], opset=15)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 15
