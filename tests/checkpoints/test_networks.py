"""Checkpoints in the authors' format become Keras models that give PyTorch's logits."""

import copy
import os
import pickle
import zipfile

import keras
import numpy as np
import pytest
import torch

from keras_cbam.checkpoints import load_reference
from keras_cbam.checkpoints.convert import ConversionError, convert
from keras_cbam.checkpoints.torch_file import read_state_dict
from keras_cbam.checkpoints.torch_network import torch_logits
from tests.backend import quick
from tests.checkpoints.torch_modules import BAM, CBAM
from tests.checkpoints.torch_networks import ResNet, randomized
from tests.layers.registry import numpy

RESNET18, RESNET50 = ((2, 2, 2, 2), False), ((3, 4, 6, 3), True)
OPEN = (None, None)
ONES, THREE_STAGES = (1, 1, 1, 1), ((2, 1, 1), False)
CASES = {
    "resnet18": lambda: ResNet(*RESNET18),
    "resnet18_cbam": lambda: ResNet(*RESNET18, "cbam"),
    "resnet18_bam": lambda: ResNet(*RESNET18, "bam"),
    "resnet50": lambda: ResNet(*RESNET50),
    "resnet50_cbam": lambda: ResNet(*RESNET50, "cbam"),
    "resnet50_bam": lambda: ResNet(*RESNET50, "bam"),
}
# What else names and shapes tell: small images, other depths, torchvision's relatives, other
# reduction ratios and halves of attention, gray images; and the model's name.
OTHERS = {
    "cifar": ("resnet10_cbam", lambda: ResNet(*THREE_STAGES, "cbam", cifar=True)),
    "wide": ("resnet14", lambda: ResNet((1, 1, 1, 1), True, inner=2)),
    "resnext": ("resnext14_cbam", lambda: ResNet((1, 1, 1, 1), True, "cbam", inner=2, groups=32)),
    "many blocks": ("resnet30", lambda: ResNet((11, 3), False, cifar=True)),
    "ratio": ("resnet10_cbam", lambda: ResNet(ONES, False, "cbam", cbam=lambda c: CBAM(c, 24))),
    "bam's ratio": (
        "resnet10_bam",
        lambda: ResNet(ONES, False, "bam", bam=lambda c: BAM(c, 8)),
    ),
    "channel": (
        "resnet10_cbam",
        lambda: ResNet(ONES, False, "cbam", cbam=lambda c: CBAM(c, spatial=False)),
    ),
    "gray": ("resnet6", lambda: ResNet((1, 1), False, cifar=True, channels=1)),
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


@pytest.mark.parametrize("name", quick(CASES, {"resnet18_cbam"}))
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


@pytest.mark.parametrize("case", quick(OTHERS, OTHERS.keys() - {"wide"}))
def test_architecture_is_told_from_names_and_shapes(case, rng, tmp_path):
    name, build = OTHERS[case]
    module = randomized(build())
    # In whatever order the names stand.
    torch.save(dict(sorted(module.state_dict().items())), tmp_path / "checkpoint.pth")
    state = read_state_dict(tmp_path / "checkpoint.pth")
    model = load_reference(tmp_path / "checkpoint.pth", classifier_activation=None)
    assert model.name == name
    size = 32 if isinstance(module.pool, torch.nn.Identity) else 224
    channels = module.conv1.in_channels
    assert model.input.shape == (None, size, size, channels)
    images = rng.normal(size=(3, size, size, channels)).astype("float32")
    expected = assert_same_logits(model, module, images)
    own = torch_logits(state, images.transpose(0, 3, 1, 2))
    assert np.abs(own - expected).max() < 1e-10 * np.ptp(expected)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_float_type(kind, small, rng, tmp_path):
    state = {name: value.to(kind) for name, value in small.state_dict().items()}
    torch.save({"model": {"state_dict": state}}, tmp_path / "checkpoint.pth")
    model = load_reference(tmp_path / "checkpoint.pth")
    found = numpy(model.get_layer("predictions").kernel)
    assert np.array_equal(found, state["fc.weight"].float().numpy().T)


def test_prefix_of_some_names_is_listed(small, tmp_path):
    """Removing the prefix would overwrite another weight."""
    state = small.state_dict()
    torch.save({**state, "module.conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "two.pth")
    with pytest.raises(ValueError, match=r"unexpected: module\.conv1\.weight$"):
        load_reference(tmp_path / "two.pth")


def test_a_name_of_ones_own(checkpoint):
    assert load_reference(checkpoint, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("image_size", "shape"), [(64, (64, 64)), ((np.int64(32), 48), (32, 48)), (OPEN, OPEN)]
)
def test_image_sizes(image_size, shape, checkpoint):
    assert load_reference(checkpoint, image_size=image_size).input.shape[1:3] == shape


@pytest.mark.parametrize("image_size", [2, (), (32,), "32", (32.0, 32), True])
def test_other_image_sizes_are_refused(image_size, checkpoint):
    with pytest.raises(ValueError, match="`image_size` must be an integer, or a height and"):
        load_reference(checkpoint, image_size=image_size)


@pytest.fixture(scope="module")
def small():
    return randomized(ResNet(*THREE_STAGES, "cbam", cifar=True))


@pytest.fixture
def checkpoint(small, tmp_path):
    torch.save({"model": small.state_dict()}, tmp_path / "small.pth")
    return tmp_path / "small.pth"


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
    torch.save(small.state_dict(), tmp_path / "small.pth")
    monkeypatch.setattr("keras_cbam.checkpoints.torch_network.EPSILON", 1e-2)
    with pytest.raises(ConversionError, match=r"differs from PyTorch's by \d.*nothing was written"):
        convert(tmp_path / "small.pth", tmp_path / "model.keras")
    assert os.listdir(tmp_path) == ["small.pth"]


def test_preprocessing_of_gray_images_is_refused(tmp_path):
    torch.save(ResNet((1,), False, channels=1).state_dict(), tmp_path / "gray.pth")
    with pytest.raises(
        ValueError, match=r"a network for RGB images. Received: a network for images of 1 channels"
    ):
        load_reference(tmp_path / "gray.pth", include_preprocessing=True)


def test_what_no_name_tells_is_taken_as_the_authors(small, rng, tmp_path):
    """A dilated network has the same weights: the limit that `load_reference` states."""
    other = copy.deepcopy(small)
    for module in other.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = module.padding = (2, 2)
    torch.save(other.state_dict(), tmp_path / "dilated.pth")
    assert convert(tmp_path / "dilated.pth", tmp_path / "model.keras").agrees
    images = rng.normal(size=(3, 32, 32, 3)).astype("float32")
    expected = logits(other, images)
    found = numpy(load_reference(tmp_path / "dilated.pth", classifier_activation=None)(images))
    assert np.abs(found - expected).max() > 1e-2 * np.ptp(expected)


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


def rewritten(**weights):
    """Writes a small network with weights in place of its own."""
    names = {name.replace("__", "."): value for name, value in weights.items()}
    return lambda path: torch.save(ResNet((1, 1), False).state_dict() | names, path)


def itself():
    """A dictionary that holds itself."""
    found = {}
    found["model"] = found
    return found


def packed(path):
    """Zeros, packed to a thousandth."""
    torch.save({"fc.weight": torch.zeros(2**25)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


UNREADABLE = {
    "expanded": (
        rewritten(fc__weight=torch.zeros(1).expand(2**20, 2**21)),
        "twice those of the file. Received: 8,796,",
    ),
    "packed": (packed, "Expected a file that unpacks to at most 64 MiB"),
    "text": (lambda path: path.write_text("no checkpoint"), "which PyTorch cannot read"),
    "empty": (lambda path: path.touch(), "which PyTorch cannot read"),
    "list": (lambda path: torch.save([1, 2], path), "by name. Received: a list in"),
    "dict": (lambda path: torch.save({"epoch": 3}, path), "Received: a dictionary with epoch: int"),
    "other": (
        lambda path: torch.save({"features.0.weight": torch.zeros(2)}, path),
        r"Missing: conv1.weight, .*Received: features.0.weight",
    ),
    "byte": (lambda path: path.write_bytes(b"\x80"), "which PyTorch cannot read"),
    "script": (
        lambda path: torch.jit.script(torch.nn.Linear(2, 2)).save(path),
        "a TorchScript archive. Save its state dict",
    ),
    "kernel": (
        rewritten(conv1__weight=torch.zeros(64, 3, 5, 5)),
        r"kernel of 7 or 3. Received: shape \(64, 3, 5, 5\)",
    ),
    "rank": (
        rewritten(conv1__weight=torch.zeros(64, 3, 7)),
        r"conv1.weight of 4 axes, none of them 0. Received: shape \(64, 3, 7\)",
    ),
    "scalar": (rewritten(fc__weight=torch.tensor(1.0)), r"fc.weight of 2 axes.*shape \(\)"),
    "none": (rewritten(fc__weight=torch.zeros(0, 128)), r"fc.weight of 2 axes.*\(0, 128\)"),
    "no stride": (
        rewritten(
            layer1__0__conv1__weight=torch.zeros(64, 64, 5, 5),
            layer1__0__conv2__weight=torch.zeros(64, 64, 5, 5),
        ),
        r"Expected a 3x3 convolution in each block. Received: kernels of \[5, 5\]",
    ),
    "ratios": (
        rewritten(
            bam1__channel_att__gate_c__gate_c_fc_0__weight=torch.zeros(4, 64),
            bam2__channel_att__gate_c__gate_c_fc_0__weight=torch.zeros(4, 128),
        ),
        "one reduction ratio throughout. Received: hidden layers of 4 units for",
    ),
    "stages": (
        rewritten(layer4__0__conv1__weight=torch.zeros(1, 1, 1, 1)),
        "Expected layer1, layer2 and so on, .*Received: layer1 of blocks .*, layer4 of blocks",
    ),
    "blocks": (
        rewritten(layer1__100000000__conv1__weight=torch.zeros(1, 1, 1, 1)),
        r"Received: layer1 of blocks \[0, 100000000\]",
    ),
    "widths": (
        rewritten(layer1__0__conv3__weight=torch.zeros(3, 64, 1, 1)),
        "with 3 convolutions in every block",
    ),
    "narrow": (
        lambda path: torch.save(
            ResNet((1,), True).state_dict() | {"layer1.0.conv3.weight": torch.zeros(3, 64, 1, 1)},
            path,
        ),
        r"that widen by 4. Received: outputs of \[3\]",
    ),
    "even": (
        lambda path: torch.save(
            ResNet((1,), False, "cbam").state_dict()
            | {"layer1.0.cbam.SpatialGate.spatial.conv.weight": torch.zeros(1, 2, 4, 4)},
            path,
        ),
        "`kernel_size` must be an odd integer",
    ),
    "itself": (lambda path: torch.save(itself(), path), "Received: a dictionary with"),
    "sparse": (rewritten(fc__weight=torch.zeros(10, 128).to_sparse()), "dense tensors of real"),
    "complex": (rewritten(fc__bias=torch.zeros(10, dtype=torch.complex64)), "of real numbers"),
    "missing": (lambda path: None, "which is no file"),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
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
