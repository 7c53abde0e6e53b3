"""One small network with CBAM, its outputs made to vary, exported once for all tests."""

import shutil
import subprocess

import keras
import numpy as np
import pytest

from keras_cbam import CBAM
from keras_cbam.export import export_model
from keras_cbam.export.formats import PRECISIONS
from tests.backend import BACKEND
from tests.drawn import vary

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

LABELS = ["red", "green", "blue", "grey"]


def small_network(classes=4):
    x = inputs = keras.Input((24, 24, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(x)
    for stage, filters in enumerate((16, 24)):
        x = keras.layers.Conv2D(filters, 3, 2, padding="same", name=f"conv{stage}")(x)
        x = keras.layers.BatchNormalization()(x)
        x = CBAM(8, identity_init=True, name=f"cbam{stage}")(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, x)


@pytest.fixture(scope="session")
def network():
    """Gates are off their start and classes are far apart, so that a wrong graph is seen."""
    keras.utils.set_random_seed(3)
    model = vary(small_network())
    rng = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, CBAM):
            layer.channel_attention.excite.kernel.assign(
                rng.normal(0, 1, layer.channel_attention.excite.kernel.shape)
            )
            layer.spatial_attention.batch_norm.gamma.assign([0.7])
            layer.spatial_attention.batch_norm.beta.assign([-0.4])
    head = model.get_layer("probabilities")
    head.kernel.assign(rng.normal(0, 2, head.kernel.shape))
    return model


@pytest.fixture(scope="session")
def images(network):
    """Noisy colors that the network is in little doubt about, as a trained one would be."""
    rng = np.random.default_rng(1)
    colors = rng.uniform(0, 255, (1200, 1, 1, 3))
    drawn = np.clip(colors + rng.normal(0, 25, (1200, 24, 24, 3)), 0, 255).astype("float32")
    likely = np.sort(network.predict(drawn, verbose=0), axis=-1)
    return drawn[likely[:, -1] - likely[:, -2] > 0.3][:240]


@pytest.fixture(autouse=True)
def _own_runtimes(monkeypatch):
    """Files run in their own runtime alone, unless a test names others."""
    if BACKEND == "tensorflow":
        monkeypatch.setattr("keras_cbam.export.request.is_installed", lambda runtime: False)


@pytest.fixture(scope="session")
def everything(network, images, tmp_path_factory):
    """Every artifact of the network, and the report. Twelve of the given labels are wrong."""
    directory = tmp_path_factory.mktemp("everything") / "export"
    truth = network.predict(images, verbose=0).argmax(-1)
    truth[:12] = (truth[:12] + 1) % 4
    report = export_model(
        network,
        directory,
        precisions=PRECISIONS,
        representative_dataset=images[:100],
        verification_data=(images, truth),
        labels=LABELS,
        jpeg_signature=True,
    )
    return directory, report


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory):
    """A directory where node finds onnxruntime-web."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "onnxruntime-web"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        pytest.skip(f"npm installs nothing here: {done.stderr[-200:]}")
    return folder


@pytest.fixture
def with_onnxruntime_web(node_modules, monkeypatch):
    """Tests run where node finds onnxruntime-web."""
    monkeypatch.chdir(node_modules)
