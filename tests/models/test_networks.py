"""The builders: addresses, places, arguments, starts, refusals."""

import dataclasses
import inspect

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, ChannelAttention, attention_points, models
from keras_cbam.layers import AttentionLayer
from tests.backend import BACKEND, ROOT, quick_on
from tests.drawn import vary
from tests.layers.registry import numpy

SHAPE = (64, 64, 3)
BUILDERS = {name: getattr(models, name) for name in models.__all__}


def names(model, kind):
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("name", BUILDERS)
def test_signature_is_that_of_keras_applications(name):
    found = inspect.signature(BUILDERS[name])
    theirs = inspect.signature(keras.applications.ResNet50)
    shared = list(found.parameters)[1 : 1 + len(theirs.parameters)]
    assert shared == list(theirs.parameters)
    assert next(iter(found.parameters)) == "attention"
    own = {"WideResNet18": ["width"], "MobileNet": ["alpha"]}.get(name, [])
    assert list(found.parameters)[1 + len(shared) :] == ["stem", *own]
    for argument in set(shared) - {"weights", "name"}:
        assert found.parameters[argument].default == theirs.parameters[argument].default


def test_addresses_of_a_bottleneck():
    model = models.ResNet50(input_shape=SHAPE)
    block = [x.name for x in model.layers if x.name.startswith("stage2_block1_")]
    assert sorted(block) == sorted(
        f"stage2_block1_{part}"
        for part in (
            *("conv1", "bn1", "relu1", "pad2", "conv2", "bn2", "relu2", "conv3", "bn3", "cbam"),
            *("shortcut_conv", "shortcut_bn", "add", "out"),
        )
    )
    assert (
        model.get_layer("stage2_block1_cbam").input is model.get_layer("stage2_block1_bn3").output
    )
    assert model.get_layer("stage2_block1_conv2").strides == (2, 2)
    stem = [x.name for x in model.layers[1:7]]
    assert stem == [f"stem_{x}" for x in ("pad", "conv", "bn", "relu", "pool_pad", "pool")]


def test_bam_stands_at_three_stage_ends():
    resnet = models.ResNet18("bam", input_shape=SHAPE)
    assert names(resnet, AttentionLayer) == ["stage1_bam", "stage2_bam", "stage3_bam"]
    assert resnet.get_layer("stage1_bam").input is resnet.get_layer("stage1_block2_out").output
    mobile = models.MobileNet("bam", input_shape=SHAPE, alpha=0.25)
    assert names(mobile, AttentionLayer) == ["stage2_bam", "stage3_bam", "stage4_bam"]
    # Maps of 56, 28 and 14 at 224 pixels.
    assert [mobile.get_layer(x).output.shape[1] for x in names(mobile, AttentionLayer)] == [
        16,
        8,
        4,
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name.endswith("101") else ())
        for name in BUILDERS
    ],
)
def test_factories_receive_the_points_that_surgery_finds(name):
    received = []

    def factory(point):
        received.append(point)
        return ChannelAttention(8)

    build = BUILDERS[name]
    model = build(factory, input_shape=SHAPE, include_top=False)
    assert tuple(received) == attention_points(build(None, input_shape=SHAPE, include_top=False))
    assert len(names(model, ChannelAttention)) == len(received)
    assert all(layer.reduction_ratio == 8 for layer in model.layers if hasattr(layer, "pools"))


@dataclasses.dataclass
class Factory:
    """A factory that cannot be hashed."""

    ratio: int

    def __call__(self, point):
        return ChannelAttention(self.ratio)


def test_any_callable_is_a_factory():
    model = models.ResNet18(Factory(4), input_shape=SHAPE, include_top=False)
    assert {x.reduction_ratio for x in model.layers if isinstance(x, ChannelAttention)} == {4}
    assert model.name == "resnet18"


def test_attention_starts_as_in_the_authors_code():
    model = models.ResNet18("cbam", input_shape=SHAPE)
    layers = [layer for layer in model.layers if isinstance(layer, CBAM)]
    assert len(layers) == 8
    for layer in layers:
        assert not layer.identity_init
        assert numpy(layer.spatial_attention.batch_norm.gamma) == 0
    spatial = models.ResNet18("spatial", input_shape=SHAPE).get_layer("stage1_block1_spatial")
    assert numpy(spatial.batch_norm.gamma) == 0
    squeeze = numpy(layers[-1].channel_attention.squeeze.kernel)
    # PyTorch's linear layers: uniform within one over the root of the fan-in.
    assert np.abs(squeeze).max() == pytest.approx(1 / np.sqrt(512), rel=1e-2)
    assert squeeze.std() == pytest.approx(1 / np.sqrt(3 * 512), rel=2e-2)


def test_convolutions_and_classifier_start_as_hes():
    model = models.ResNet18(None, input_shape=SHAPE)
    conv = numpy(model.get_layer("stage4_block2_conv2").kernel)
    assert conv.std() == pytest.approx(np.sqrt(2 / (9 * 512)), rel=1e-2)
    projection = numpy(model.get_layer("stage4_block1_shortcut_conv").kernel)
    assert np.abs(projection).max() == pytest.approx(1 / np.sqrt(256), rel=1e-2)
    assert projection.std() == pytest.approx(1 / np.sqrt(3 * 256), rel=1e-2)
    scores = numpy(model.get_layer("predictions").kernel)
    assert scores.std() == pytest.approx(np.sqrt(2 / 512), rel=1e-2)
    assert np.abs(scores).max() > 3 * scores.std()  # not cut off
    other = numpy(model.get_layer("stage4_block1_conv2").kernel)
    assert not np.array_equal(conv, other)
    bn = model.get_layer("stem_bn")
    assert (bn.momentum, bn.epsilon) == (0.9, 1e-5)


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ({"include_top": False}, (None, None, None, 512)),
        ({"include_top": False, "pooling": "avg"}, (None, 512)),
        ({"include_top": False, "pooling": "max", "input_shape": (96, 64, 1)}, (None, 512)),
        ({"include_top": False, "input_shape": (96, 64, 3)}, (None, 3, 2, 512)),
        ({"include_top": False, "stem": "cifar", "input_shape": (32, 32, 3)}, (None, 4, 4, 512)),
        ({"input_shape": (None, None, 3), "classes": 7}, (None, 7)),
        ({}, (None, 1000)),
    ],
)
def test_top_pooling_and_shape(arguments, shape):
    model = models.ResNet18("se", **arguments)
    assert model.output.shape == shape
    assert model.name == "resnet18_se"


def test_default_image_sizes():
    assert models.ResNet18("se").input.shape == (None, 224, 224, 3)
    assert models.ResNet18("se", stem="cifar").input.shape == (None, 32, 32, 3)
    assert models.ResNet18("se", include_top=False).input.shape == (None, None, None, 3)


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


# JAX compiles every operation of both networks one by one.
@pytest.mark.backends
@quick_on("torch")
@pytest.mark.parametrize("attention", ["cbam", "bam"])
@pytest.mark.parametrize("name", ["ResNet50", "MobileNet"])
def test_channels_first(name, attention, channels_first, rng):
    build = BUILDERS[name]
    first = build(attention, include_top=False, input_shape=(3, 64, 96))
    assert first.output.shape[2:] == (2, 3)
    keras.config.set_image_data_format("channels_last")
    last = build(attention, include_top=False, input_shape=(64, 96, 3))
    first.set_weights(vary(last).get_weights())
    if BACKEND == "tensorflow":
        return  # It has no channels_first convolution on a CPU; the other backends prove it.
    images = rng.normal(size=(2, 64, 96, 3)).astype("float32")
    found, expected = numpy(first(images.transpose(0, 3, 1, 2))), numpy(last(images))
    assert np.ptp(expected) > 1e-2
    assert np.abs(found.transpose(0, 2, 3, 1) - expected).max() < 1e-5 * np.ptp(expected)


@pytest.mark.backends
@quick_on("tensorflow", "torch")
def test_input_tensor_and_weights(tmp_path, rng):
    pixels = keras.Input(SHAPE)
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    model = models.ResNet18("se", input_tensor=scaled, classes=4)
    assert model.input is pixels
    images = rng.uniform(0, 255, (2, *SHAPE)).astype("float32")
    model.save_weights(tmp_path / "some.weights.h5")
    again = models.ResNet18(
        "se", input_tensor=scaled, classes=4, weights=tmp_path / "some.weights.h5", name="again"
    )
    assert again.name == "again"
    with pytest.raises(ValueError, match="`input_shape` must equal the shape of `input_tensor`"):
        models.ResNet18("se", input_tensor=scaled, input_shape=(96, 96, 3))
    assert np.array_equal(numpy(again(images)), numpy(model(images)))


@pytest.mark.backends
@quick_on("tensorflow", "torch")
def test_logits_and_softmax(rng):
    images = rng.normal(size=(2, *SHAPE)).astype("float32")
    logits = models.ResNet18("se", input_shape=SHAPE, classes=5, classifier_activation=None)
    scores = models.ResNet18("se", input_shape=SHAPE, classes=5)
    scores.set_weights(logits.get_weights())
    found, given = numpy(scores(images)), numpy(logits(images))
    powers = np.exp(given.astype("float64"))
    assert np.allclose(found, powers / powers.sum(-1, keepdims=True), atol=1e-6)
    assert np.abs(given.sum(-1) - 1).max() > 1e-2


REFUSED = {
    "attention": (
        {"attention": "cbma"},
        ValueError,
        r"must be None, one of .*Received: .*cbma",
    ),
    "layer": ({"attention": CBAM}, TypeError, "factory that receives a point"),
    "no layer": ({"attention": lambda point: 3}, TypeError, "returns a Keras layer. Received: 3"),
    "stem": ({"stem": "tiny"}, ValueError, r"`stem` must be one of \('imagenet', 'cifar'\)"),
    "pooling": ({"pooling": "sum"}, ValueError, r"`pooling` must be one of \('avg', 'max'\)"),
    "classes": ({"classes": 0}, ValueError, "`classes` must be an integer of at least 1"),
    "small": ({"input_shape": (31, 32, 3)}, ValueError, "at least 32. Received: .*31, 32, 3"),
    "channels": ({"input_shape": (64, 64, None)}, ValueError, "height, width, channels"),
    "rank": ({"input_shape": (64, 64)}, ValueError, "height, width, channels"),
    "imagenet": ({"weights": "imagenet"}, ValueError, "load_reference reads .*=imagenet"),
    "tensor": ({"input_tensor": np.zeros((1, 64, 64, 3))}, TypeError, "must be a Keras tensor"),
    "small tensor": (
        {"input_tensor": keras.KerasTensor((None, 8, 8, 3))},
        ValueError,
        "`input_tensor` must be of .* at least 32. Received: .*8, 8, 3",
    ),
    "bool": ({"input_shape": (64, 64, True)}, ValueError, "height, width, channels"),
    "unknown": ({"alpha": 1}, TypeError, "unexpected keyword argument 'alpha'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments(case):
    arguments, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        models.ResNet18(**arguments)


@pytest.mark.parametrize("width", [0, -1.0, 0.01, "wide", True, np.inf, np.nan])
def test_widths_that_leave_no_filter(width):
    with pytest.raises(ValueError, match=r"`width` must be a number of at least 1/64"):
        models.WideResNet18(width=width)
    with pytest.raises(ValueError, match=r"`alpha` must be a number of at least 1/32"):
        models.MobileNet(alpha=width)


def test_numbers_of_numpy():
    shape = (np.int64(64), np.int32(96), 3)
    model = models.MobileNet("se", input_shape=shape, classes=np.int64(5), alpha=np.float32(0.5))
    assert model.output.shape == (None, 5)
    assert model.get_layer("stem_conv").filters == 16


def test_nothing_is_said_twice():
    """Any two of the networks differ only in data: no run of six lines stands twice."""
    runs = {}
    for path in sorted((ROOT / "keras_cbam" / "models").glob("*.py")):
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        for start in range(len(lines) - 5):
            runs.setdefault("\n".join(lines[start : start + 6]), []).append(f"{path}:{start}")
    assert not {run: places for run, places in runs.items() if len(places) > 1}
