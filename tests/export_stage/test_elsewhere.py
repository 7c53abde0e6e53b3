"""Artifacts in runtimes that are not their own: OpenVINO, and onnxruntime-web in node."""

import platform

import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import ARTIFACTS, VerificationError, export_model, verification
from keras_cbam.export.children.batches import Outputs
from keras_cbam.export.request import choose_runtimes
from keras_cbam.export.runtimes import openvino as runtime_openvino
from keras_cbam.export.runtimes.table import is_installed, run_artifact
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


def test_openvino_gives_the_same_answers(everything):
    pytest.importorskip("openvino")
    _, report = everything
    rows = {artifact.name: artifact for artifact in report.artifacts}
    for artifact in ARTIFACTS:
        found = [e for e in rows[artifact.name].elsewhere if e.runtime == "openvino"]
        assert len(found) == ("openvino" in artifact.also)
        for each in found:
            assert each.images == 200
            assert each.missed == ()
            assert each.parity[0].misses(artifact.tolerance) == []
    expected = sum("openvino" in artifact.also for artifact in ARTIFACTS)
    assert report.markdown().count("| openvino |") == expected


def test_openvino_computes_in_float32_where_integers_saturate(everything, images, monkeypatch):
    pytest.importorskip("openvino")

    def noted(saturates):
        monkeypatch.setattr(runtime_openvino, "saturates", lambda: saturates)
        inputs = {"image": images[:1]}
        return {
            artifact.name
            for artifact in ARTIFACTS
            if "openvino" in artifact.also
            and runtime_openvino.run(str(everything[0] / artifact.name), inputs)[1]
        }

    assert noted(False) == set()
    assert noted(True) == {"model_int8.tflite"}


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "avx2 fma", True),
        ("x86_64", "avx2 avx_vnni", False),
        ("x86_64", "avx512f avx512_vnni", False),
        ("aarch64", "asimd", False),
    ],
)
def test_integers_saturate_on_x86_without_vnni(machine, flags, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert not runtime_openvino.saturates(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags: {flags}\n")
    assert runtime_openvino.saturates(tmp_path / "cpuinfo") == expected


def test_onnxruntime_web_gives_the_same_answers(with_onnxruntime_web, network, images, tmp_path):
    report = export_model(
        network,
        tmp_path / "out",
        formats="onnx",
        precisions=["float32", "int8"],
        representative_dataset=images[:100],
        verification_data=images,
        runtimes="onnxruntime-web",
    )
    assert report.verified
    for artifact in report.artifacts:
        (found,) = artifact.elsewhere
        assert (found.runtime, found.images) == ("onnxruntime-web", 50)
        assert found.parity[0].agreement >= 0.98
    assert report.artifacts[0].elsewhere[0].parity[0].largest_error < 1e-4


def test_a_runtime_that_answers_otherwise_stops_the_export(network, images, tmp_path, monkeypatch):
    pytest.importorskip("openvino")

    def shifted(runtime, artifact, inputs, limits) -> tuple[Outputs, list[str]]:
        outputs, notes = run_artifact(runtime, artifact, inputs)
        wrong = 0.1 if runtime == "openvino" else 0
        return {name: value + wrong for name, value in outputs.items()}, notes

    monkeypatch.setattr(verification, "run_artifact", shifted)
    arguments = {"formats": "onnx", "verification_data": images}
    with pytest.raises(VerificationError, match=r"model.onnx in openvino: probabilities: largest"):
        export_model(network, tmp_path / "out", **arguments, runtimes="openvino")
    assert not (tmp_path / "out").exists()
    assert export_model(network, tmp_path / "out", **arguments, runtimes=()).verified


def test_runtimes_that_cannot_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="openvino is a runtime of none of these: saved_model"):
        choose_runtimes(["openvino"], ["saved_model"])
    if not is_installed("onnxruntime-web"):
        with pytest.raises(InputError, match=r"run `npm install onnxruntime-web`|no node"):
            choose_runtimes(["onnxruntime-web"], ["model.onnx"])
    with pytest.raises(InputError, match=r"runtimes of openvino, onnxruntime-web. Received: tvm"):
        choose_runtimes("tvm", ["model.onnx"])
