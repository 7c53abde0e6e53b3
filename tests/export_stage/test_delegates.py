"""The report of where operations run names what falls back."""

import re

import keras
import pytest

from keras_cbam.cli.artifact_table import show
from keras_cbam.cli.terminal import out
from keras_cbam.export import export_model, verify
from keras_cbam.export.proof.manifest import read_manifest
from keras_cbam.export.runtimes.placement import delegations
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


@pytest.fixture(scope="module")
def reported(network, images, tmp_path_factory):
    directory = tmp_path_factory.mktemp("reported") / "export"
    report = export_model(
        network,
        directory,
        formats=["tflite", "onnx"],
        representative_dataset=images[:100],
        verification_data=images,
        write_report=True,
        runtimes=(),
    )
    return directory, report


def test_the_report_tells_where_operations_run(reported):
    directory, report = reported
    found = {(each.artifact, each.accelerator): each[2:] for each in report.delegations}
    assert found["model_float32.tflite", "XNNPACK"] == ("1 partition", "")
    assert found["model_int8.tflite", "XNNPACK"] == ("1 partition", "SOFTMAX of int8")
    inside, lacking = found["model_float32.tflite", "GPU delegate"]
    assert re.fullmatch(r"(\d+) of \1 operations, by kind", inside)
    assert lacking == ""
    assert "Transpose" in found["model.onnx", "layout"][1]
    text = (directory / "report.md").read_text()
    assert "| model_int8.tflite | XNNPACK | 1 partition | SOFTMAX of int8 |" in text
    assert text == report.markdown()
    assert read_manifest(directory).delegations == report.delegations


def test_verify_reports_too(reported):
    directory, report = reported
    again = verify(directory, write_report=True)
    assert again.delegations == report.delegations
    assert (directory / "report.md").read_text() == again.markdown()
    assert verify(directory).delegations == ()


def test_the_tables_fit_a_terminal_of_80_columns(reported, monkeypatch, capsys):
    _, report = reported
    monkeypatch.setattr(out, "_width", 80)
    show(report)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    words = printed.split()
    for artifact in report.artifacts:
        assert artifact.name in words
        assert artifact.runtime in words
    assert words.count("verified") == len(report.artifacts)


def test_what_the_gpu_delegate_lacks_is_named(tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(image))
    model = keras.Model(image, keras.ops.top_k(x, 2)[0])
    export_model(model, tmp_path, formats="tflite", runtimes=())
    (found,) = [
        each
        for each in delegations(tmp_path, ["model_float32.tflite"])
        if each.accelerator == "GPU delegate"
    ]
    assert found[2:] == ("2 of 3 operations, by kind", "TOPK_V2 of float32")


@pytest.mark.parametrize("name", ["model_float32.tflite", "model_int8.tflite", "model.onnx"])
def test_damaged_files_are_read_in_a_child(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x20\x00\x00\x00TFL3" + b"\xff" * 100)
    found = delegations(tmp_path, [name])
    assert found
    assert all(each.inside == "" and each.outside for each in found)
