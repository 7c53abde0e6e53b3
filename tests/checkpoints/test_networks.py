"""Checkpoints in the authors' format become Keras models that give PyTorch's logits."""

import os
import pickle

import keras
import numpy as np
import pytest
import torch

from keras_cbam.checkpoints import load_reference
from keras_cbam.checkpoints.convert import ConversionError, convert
from keras_cbam.checkpoints.torch_file import read_state_dict
from keras_cbam.checkpoints.torch_network import torch_logits
from tests.checkpoints.torch_modules import CBAM
from tests.checkpoints.torch_networks import ResNet, randomized
from tests.layers.registry import numpy

RESNET18, RESNET50 = ((2, 2, 2, 2), False), ((3, 4, 6, 3), True)
OPEN = (None, None)
THREE_STAGES = ((2, 1, 1), False)
CASES = {
    "resnet18": lambda: ResNet(*RESNET18),
    "resnet18_cbam": lambda: ResNet(*RESNET18, "cbam"),
    "resnet18_bam": lambda: ResNet(*RESNET18, "bam"),
    "resnet50": lambda: ResNet(*RESNET50),
    "resnet50_cbam": lambda: ResNet(*RESNET50, "cbam"),
    "resnet50_bam": lambda: ResNet(*RESNET50, "bam"),
}
# What else names and shapes tell: small images, other depths, torchvision's relatives, other
# reduction ratios and halves of CBAM.
OTHERS = {
    "resnet10_cbam": lambda: ResNet(*THREE_STAGES, "cbam", cifar=True),
    "resnet14": lambda: ResNet((1, 1, 1, 1), True, inner=2),
    "resnext14_cbam": lambda: ResNet((1, 1, 1, 1), True, "cbam", inner=2, groups=32),
    "resnet18_cbam ": lambda: ResNet(*RESNET18, "cbam", cbam=lambda c: CBAM(c, 8)),
    "resnet18_cbam  ": lambda: ResNet(*RESNET18, "cbam", cbam=lambda c: CBAM(c, spatial=False)),
}


def logits(module, images):
    """PyTorch's logits in float64, for images channels last."""
    with torch.no_grad():
        return module.double()(torch.tensor(images.transpose(0, 3, 1, 2)).double()).numpy()


def assert_same_logits(model, module, images):
    expected = logits(module, images)
    found = numpy(model(images)).astype("float64")
    spread = np.ptp(expected)
    assert np.ptp(expected, axis=0).max() > 1e-2 * spread
    assert np.abs(found - expected).max() < 1e-4 * spread
    return expected


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_pytorch(name, rng, tmp_path):
    module = randomized(CASES[name]())
    parallel = {f"module.{key}": value for key, value in module.state_dict().items()}
    torch.save({"state_dict": parallel, "epoch": 90}, tmp_path / "checkpoint.pth")
    model = load_reference(tmp_path / "checkpoint.pth", image_size=OPEN, classifier_activation=None)
    assert model.name == name
    for size in (224, 192):
        images = rng.normal(size=(3, size, size, 3)).astype("float32")
        expected = assert_same_logits(model, module, images)
        # What `convert` compares with, computed straight from the file.
        own = torch_logits(
            read_state_dict(tmp_path / "checkpoint.pth"), images.transpose(0, 3, 1, 2)
        )
        assert np.abs(own - expected).max() < 1e-10 * np.ptp(expected)


@pytest.mark.backends
@pytest.mark.parametrize("name", OTHERS)
def test_architecture_is_told_from_names_and_shapes(name, rng, tmp_path):
    module = randomized(OTHERS[name]())
    torch.save(module.state_dict(), tmp_path / "checkpoint.pth")
    model = load_reference(tmp_path / "checkpoint.pth", classifier_activation=None)
    assert model.name == name.strip()
    size = 32 if name.startswith("resnet10") else 224
    assert model.input.shape == (None, size, size, 3)
    images = rng.normal(size=(3, size, size, 3)).astype("float32")
    assert_same_logits(model, module, images)


@pytest.fixture(scope="module")
def small():
    return randomized(ResNet(*THREE_STAGES, "cbam", cifar=True))


@pytest.fixture
def checkpoint(small, tmp_path):
    torch.save({"model": small.state_dict()}, tmp_path / "small.pth")
    return tmp_path / "small.pth"


@pytest.mark.backends
def test_convert_writes_what_it_has_compared(checkpoint, small, rng, tmp_path):
    output = tmp_path / "deeper" / "model.keras"
    parity = convert(checkpoint, output, include_preprocessing=True)
    assert parity.error < 1e-4
    assert parity.meaningful
    assert os.listdir(output.parent) == ["model.keras"]
    model = keras.models.load_model(output)
    pixels = rng.uniform(0, 255, (3, 32, 32, 3)).astype("float32")
    scaled = keras.applications.imagenet_utils.preprocess_input(pixels.copy(), mode="torch")
    powers = np.exp(logits(small, scaled))
    expected = powers / powers.sum(-1, keepdims=True)
    assert np.ptp(expected) > 0.1
    assert np.abs(numpy(model(pixels)) - expected).max() < 1e-4


def test_convert_writes_nothing_that_disagrees(small, tmp_path, monkeypatch):
    """A checkpoint whose dilations, say, no name tells."""
    state = {**small.state_dict()}
    torch.save(state, tmp_path / "small.pth")
    state = {name: value * (1.001 if name == "fc.weight" else 1) for name, value in state.items()}
    other = {name: value.double().numpy() for name, value in state.items()}
    monkeypatch.setattr("keras_cbam.checkpoints.convert.read_state_dict", lambda path: other)
    with pytest.raises(ConversionError, match=r"differs from PyTorch's by \d.*nothing was written"):
        convert(tmp_path / "small.pth", tmp_path / "model.keras")
    assert os.listdir(tmp_path) == ["small.pth"]


def test_outputs_that_hardly_vary_are_told(small, tmp_path):
    still = {
        name: value * (0 if name == "conv1.weight" else 1)
        for name, value in small.state_dict().items()
    }
    torch.save(still, tmp_path / "still.pth")
    parity = convert(tmp_path / "still.pth", tmp_path / "model.keras")
    assert parity.agrees
    assert not parity.meaningful


def test_all_that_does_not_fit_is_listed(small, tmp_path):
    state = small.state_dict()
    del state["layer2.0.bn1.weight"], state["layer1.0.cbam.ChannelGate.mlp.3.bias"]
    state["fc.bias"] = torch.zeros(3)
    state["head.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "faulty.pth")
    with pytest.raises(ValueError, match="does not fit a resnet10_cbam: ") as error:
        load_reference(tmp_path / "faulty.pth")
    for part in (
        "missing: layer1.0.cbam.ChannelGate.mlp.3.bias, layer2.0.bn1.weight; ",
        "unexpected: head.weight; ",
        "of another shape: fc.bias, (3,) in place of (10,)",
    ):
        assert part in str(error.value)


class Harmful:
    """A pickle that runs a command when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (torch.save, "more than tensors and was not read"),
        (lambda x, path: path.write_bytes(pickle.dumps(x, 2)), "more than tensors"),
        (lambda x, path: path.write_bytes(pickle.dumps(x, 4)), "which PyTorch cannot read"),
    ],
)
def test_code_in_a_checkpoint_is_refused_and_not_run(write, message, tmp_path):
    write({"state_dict": {}, "harm": Harmful(tmp_path / "harm")}, tmp_path / "harmful.pth")
    with pytest.raises(ValueError, match=message):
        load_reference(tmp_path / "harmful.pth")
    assert os.listdir(tmp_path) == ["harmful.pth"]


UNREADABLE = {
    "text": (lambda path: path.write_text("no checkpoint"), "which PyTorch cannot read"),
    "empty": (lambda path: path.touch(), "which PyTorch cannot read"),
    "list": (lambda path: torch.save([1, 2], path), "by name. Received: a list in"),
    "dict": (lambda path: torch.save({"epoch": 3}, path), "Received: a dictionary of epoch: int"),
    "other": (
        lambda path: torch.save({"features.0.weight": torch.zeros(2)}, path),
        r"Missing: conv1.weight, .*Received: features.0.weight",
    ),
    "kernel": (
        lambda path: torch.save(
            ResNet((1,), False).state_dict() | {"conv1.weight": torch.zeros(64, 3, 5, 5)}, path
        ),
        r"kernel of 7 or 3. Received: shape \(64, 3, 5, 5\)",
    ),
    "stages": (
        lambda path: torch.save(
            {
                n.replace("layer2", "layer3"): v
                for n, v in ResNet((1, 1), False).state_dict().items()
            },
            path,
        ),
        "Expected layer1, layer2 and so on, .*Received: layer1, layer3",
    ),
    "missing": (lambda path: None, "which is no file"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_other_files_are_refused(case, tmp_path):
    write, message = UNREADABLE[case]
    write(tmp_path / "file.pth")
    with pytest.raises(ValueError, match=message):
        load_reference(tmp_path / "file.pth")


@pytest.mark.parametrize("name", ["model", "model.h5", "folder.keras"])
def test_convert_wants_a_keras_file(name, checkpoint, tmp_path):
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ValueError, match=r"Expected a \.keras file to write. Received: .*" + name):
        convert(checkpoint, tmp_path / name)
