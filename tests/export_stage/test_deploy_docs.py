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
    """A directory with an export, and two photographs of which the network is sure, by label."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("deploy")
    shutil.copytree(everything[0], folder / "shipped")
    colors = np.rint(images.mean((1, 2), keepdims=True)).repeat(24, 1).repeat(24, 2)
    scores, swapped = (network.predict(x, verbose=0) for x in (colors, colors[..., ::-1]))
    found, sure = scores.argmax(-1), scores.max(-1) > 0.95
    first = (sure & (found != swapped.argmax(-1))).argmax()
    photographs = {}
    for index in (first, (sure & (found != found[first])).argmax()):
        path = folder / f"{index}.jpg"
        Image.fromarray(colors[index].astype("uint8")).save(path, quality=100)
        pixels = np.asarray(Image.open(path), "float32")
        answers = network.predict(np.stack([pixels, pixels[..., ::-1]]), verbose=0)
        assert answers[0].max() > 0.9
        photographs[LABELS[answers[0].argmax()]] = path, pixels, LABELS[answers[1].argmax()]
    assert len(photographs) == 2
    # With blue first at least one is taken for another.
    assert any(label != reverse for label, (_, _, reverse) in photographs.items())
    return folder, photographs


@pytest.mark.parametrize("name", PYTHON)
def test_python_finds_what_keras_finds(name, shipped, monkeypatch):
    folder, photographs = shipped
    for package in re.findall(r"^(?:import|from) (\w+)", PYTHON[name], re.MULTILINE):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(folder)
    for label, (path, *_) in photographs.items():
        shutil.copy(path, "photo.jpg")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(PYTHON[name], "docs/deploy.md", "exec"), {})
        assert printed.getvalue().split() == [label]


def test_javascript_finds_what_keras_finds(node_modules, shipped):
    folder, photographs = shipped
    (node_modules / "classify.mjs").write_text(JAVASCRIPT)
    (node_modules / "main.mjs").write_text(f"""
        import * as ort from "onnxruntime-web";
        import {{ readFileSync }} from "node:fs";
        import {{ classify }} from "./classify.mjs";
        const session = await ort.InferenceSession.create("{folder}/shipped/model.onnx");
        const data = readFileSync("rgba");
        console.log(await classify(session, {{ data, width: 24, height: 24 }}));
    """)
    for label, (_, pixels, _) in photographs.items():
        rgba = np.concatenate([pixels, np.full((24, 24, 1), 255)], -1).astype("uint8")
        (node_modules / "rgba").write_bytes(rgba.tobytes())
        done = subprocess.run(
            ["node", "main.mjs"], cwd=node_modules, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert LABELS[int(done.stdout)] == label
