"""The lines of docs/deploy.md run, and find what Keras finds."""

import contextlib
import importlib.util
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tests.backend import BACKEND, ROOT
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
JAVASCRIPT, CANVAS = re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)
SIZE = 24


@pytest.fixture(scope="module")
def shipped(everything, network, images, tmp_path_factory):
    """A directory with an export, and two photographs of which the network is sure, by label.

    On both sides of the central crop, a photograph has the color of another class.
    """
    from PIL import Image

    folder = tmp_path_factory.mktemp("deploy")
    shutil.copytree(everything[0], folder / "shipped")
    colors = np.rint(images.mean((1, 2), keepdims=True)).repeat(SIZE, 1).repeat(SIZE, 2)
    scores, swapped = (network.predict(x, verbose=0) for x in (colors, colors[..., ::-1]))
    found, sure = scores.argmax(-1), scores.max(-1) > 0.95
    first = (sure & (found != swapped.argmax(-1))).argmax()
    photographs = {}
    second = (sure & (found != found[first])).argmax()
    for index, other in ((first, second), (second, first)):
        path = folder / f"{index}.jpg"
        wide = np.concatenate([colors[other], colors[index], colors[other]], 1)
        Image.fromarray(wide.astype("uint8")).save(path, quality=100, subsampling=0)
        pixels = np.asarray(Image.open(path), "float32")[:, SIZE:-SIZE]
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
    from PIL import Image

    monkeypatch.chdir(folder)
    for label, (path, pixels, _) in photographs.items():
        shutil.copy(path, "photo.jpg")
        if name == "MediaPipe":
            # It takes the whole photograph.
            Image.fromarray(pixels.astype("uint8")).save("photo.jpg", quality=100, subsampling=0)
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
        console.log(await classify(session, {{ data, width: {SIZE}, height: {SIZE} }}));
    """)
    for label, (_, pixels, _) in photographs.items():
        rgba = np.concatenate([pixels, np.full((SIZE, SIZE, 1), 255)], -1).astype("uint8")
        (node_modules / "rgba").write_bytes(rgba.tobytes())
        done = subprocess.run(
            ["node", "main.mjs"], cwd=node_modules, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert LABELS[int(done.stdout)] == label


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_canvas_shows_the_central_crop():
    """Run the drawing of docs/deploy.md with a photograph that is wide, and one that is high."""
    for photo, place in (((40, 20), (-10, 0, 40, 20)), ((10, 30), (0, -20, 20, 60))):
        script = (
            f"const photo = {{ width: {photo[0]}, height: {photo[1]} }}, width = 20, height = 20;"
            "const context = { drawImage: (_, ...box) => console.log(JSON.stringify(box)) };"
        )
        done = subprocess.run(
            ["node", "-e", script + CANVAS], capture_output=True, text=True, check=True
        )
        assert tuple(json.loads(done.stdout)) == place
