"""The lines of docs/deploy.md run, and find what Keras finds."""

import contextlib
import importlib.util
import io
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.conftest import BACKEND, ROOT
from tests.export_stage.conftest import LABELS

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

TEXT = (ROOT / "docs" / "deploy.md").read_text()
PYTHON = dict(
    zip(
        ("MediaPipe", "LiteRT", "ONNX Runtime", "OpenVINO", "TensorFlow", "tflite-micro"),
        re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL),
        strict=True,
    )
)
(JAVASCRIPT,) = re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def shipped(everything, network, images, tmp_path_factory):
    """A directory with an export, and a photograph of which the network is sure."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("deploy")
    shutil.copytree(everything[0], folder / "shipped")
    colors = [image.mean((0, 1), keepdims=True) for image in images[:100]]
    pixels = np.rint(np.concatenate(colors)[:, None].repeat(24, 1).repeat(24, 2))
    scores = network.predict(pixels.reshape(-1, 24, 24, 3), verbose=0)
    best = int(np.sort(scores, -1)[:, -1].argmax())
    Image.fromarray(pixels.reshape(-1, 24, 24, 3)[best].astype("uint8")).save(
        folder / "photo.jpg", quality=100
    )
    read = np.asarray(Image.open(folder / "photo.jpg"), "float32")
    answer = network.predict(read[None], verbose=0)[0]
    assert answer.max() > 0.9
    return folder, read, LABELS[answer.argmax()]


@pytest.mark.parametrize("name", PYTHON)
def test_python_finds_what_keras_finds(name, shipped, monkeypatch):
    folder, _, label = shipped
    for package in re.findall(r"^(?:import|from) (\w+)", PYTHON[name], re.MULTILINE):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(PYTHON[name], "docs/deploy.md", "exec"), {})
    assert printed.getvalue().split() == [label]


def test_javascript_finds_what_keras_finds(with_onnxruntime_web, shipped, tmp_path):
    folder, pixels, label = shipped
    height, width, _ = pixels.shape
    opaque = np.full((height, width, 1), 255)
    (tmp_path / "rgba").write_bytes(np.concatenate([pixels, opaque], -1).astype("uint8").tobytes())
    (tmp_path / "classify.mjs").write_text(JAVASCRIPT)
    (tmp_path / "main.mjs").write_text(f"""
        import * as ort from "onnxruntime-web";
        import {{ readFileSync }} from "node:fs";
        import {{ classify }} from "./classify.mjs";
        const session = await ort.InferenceSession.create("{folder}/shipped/model.onnx");
        const data = readFileSync("rgba");
        console.log(await classify(session, {{ data, width: {width}, height: {height} }}));
    """)
    done = subprocess.run(
        ["node", "main.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert LABELS[int(done.stdout)] == label
