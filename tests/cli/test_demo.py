"""`keras-cbam demo`: the whole job, as `make demo` runs it."""

import json

import pytest

from tests.backend import BACKEND
from tests.cli.running import run

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="the command runs one backend")


@pytest.mark.slow
def test_the_demo_uses_its_attention_and_verifies_its_files(tmp_path):
    output = tmp_path / "demo"
    done = run("demo", "--output", output)
    assert done.returncode == 0, done.stderr
    record = json.loads((output / "model" / "history.json").read_text())
    assert record["val"]["accuracy"] > 0.9
    assert record["attention"]["used"]
    page = (output / "report.html").read_text()
    assert f"{record['attention']['sentence']}." in page
    files = {path.name for path in (output / "export").iterdir()}
    assert {"saved_model", "model_int8.tflite", "model_int8.onnx", "manifest.json"} <= files
    # Folders of these names that no demo wrote stay.
    (output / ".keras_cbam_demo").unlink()
    done = run("demo", "--output", output)
    assert done.returncode == 2
    assert "digits is in the way, and no demo wrote it" in done.stderr
