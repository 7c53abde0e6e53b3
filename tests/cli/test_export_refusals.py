"""`keras-cbam export` of what cannot be exported: one sentence, exit code 2, nothing left."""

import shutil
import subprocess

import keras
import pytest

from tests.backend import BACKEND
from tests.cli.running import run_here

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    image = keras.Input((16, 16, 3), name="image")
    flat = keras.layers.Flatten()(image)
    built = {
        "good": keras.layers.Dense(2)(flat),
        "large": keras.layers.Dense(8000)(flat),
        "flex": keras.ops.real(keras.ops.fft2((image, image))[0]),
        "erfinv": keras.ops.erfinv(image / 256),
        "argmax": keras.ops.argmax(flat, -1),
        "lambda": keras.layers.Lambda(lambda x: 2 * x)(image),
    }
    for name, outputs in built.items():
        keras.Model(image, outputs).save(folder / f"{name}.keras")
    free = keras.Input((None, None, 3))
    upsampled = keras.layers.UpSampling2D(interpolation="bilinear")(free)
    keras.Model(free, upsampled).save(folder / "free.keras")
    wide = keras.Input((16, 24, 4))
    keras.Model(wide, keras.layers.Flatten()(wide)).save(folder / "wide.keras")
    return folder


CASES = {
    "Flex needed": (
        "flex",
        [],
        "TF Select ops: Complex, FFT2D. Leave the format",
    ),
    "Lambda": ("lambda", [], "has a Lambda layer, whose code is not run"),
    "operation that ONNX has not": (
        "erfinv",
        ["--formats", "onnx"],
        "cannot convert the operations Erfinv. Leave the format onnx out",
    ),
    "operation that TFLite has not": (
        "argmax",
        ["--formats", "tflite"],
        "TF Select ops: BitwiseAnd (of keras.ops.argmax, argmin or signbit). Leave the format",
    ),
    "operation that ONNX has not, of another name": (
        "argmax",
        ["--formats", "onnx"],
        "operations Bitcast (of keras.ops.argmax, argmin or signbit). Leave the format onnx",
    ),
    "free sizes": (
        "free",
        ["--formats", "onnx"],
        "fixed sizes for that. Received: Exception encountered when calling UpSampling2D.call()",
    ),
    "wrong shape": (
        "wide",
        ["--verification", "."],
        "Expected a model of one image, (None, height, width, 3)",
    ),
    "unknown precision": ("good", ["--precisions", "int4"], "Expected a precision of float32,"),
    "unknown format": ("good", ["--formats", "coreml"], "Expected a format of saved_model,"),
    "opset 99": ("good", ["--opset", "99"], "Expected an ONNX opset of 13 to 18. Received: 99"),
    "no calibration": ("good", ["--precisions", "int8"], "int8 needs a representative dataset"),
}
QUICK = ("Flex needed", "Lambda", "free sizes", "opset 99")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_what_cannot_be_exported(case, models, tmp_path):
    model, options, message = CASES[case]
    done = run_here("export", models / f"{model}.keras", "--output", tmp_path / "out", *options)
    assert_refused(done, message)
    assert list(tmp_path.iterdir()) == []


def test_labels_in_another_encoding(models, tmp_path):
    model = shutil.copy(models / "good.keras", tmp_path)
    (tmp_path / "labels.txt").write_bytes("gr\u00fcn\nrot\n".encode("latin-1"))
    done = run_here("export", model, "--output", tmp_path / "out")
    assert_refused(done, f"Expected labels in UTF-8. Received: {tmp_path / 'labels.txt'}")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_small_disk(models, tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        done = run_here("export", models / "large.keras", "--output", tmp_path / "out")
        assert_refused(done, f"No space is left in {tmp_path / 'out'}: nothing was written.")
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def assert_refused(done, message):
    said = [line for line in done.stderr.splitlines() if line.startswith("keras-cbam: ")]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1
    assert message in said[0]
    assert "Traceback" not in done.stderr + done.stdout
