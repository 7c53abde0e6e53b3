"""Weights of the authors' modules give the authors' outputs."""

import keras
import numpy as np
import pytest
import torch

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.checkpoints import load_reference_module
from tests.backend import quick_on
from tests.checkpoints import torch_modules as authors
from tests.layers.registry import numpy

pytestmark = [pytest.mark.backends, quick_on("tensorflow", "torch")]

CHANNELS = 32
CASES = {
    "cbam": (CBAM(8), authors.CBAM(CHANNELS, 8)),
    "cbam_max_first": (
        CBAM(8, spatial_pooling=("max", "avg"), data_format="channels_first"),
        authors.CBAM(CHANNELS, 8),
    ),
    "cbam_all_pools": (
        CBAM(channel_pooling=("avg", "max", "lp", "lse")),
        authors.CBAM(CHANNELS, 16, ("avg", "max", "lp", "lse")),
    ),
    "cbam_channel": (CBAM(order="channel"), authors.CBAM(CHANNELS, spatial=False)),
    "channel": (ChannelAttention(4), authors.ChannelGate(CHANNELS, 4)),
    "spatial": (SpatialAttention(3), authors.SpatialGate(3)),
    "squeeze_excite": (SqueezeExcite(), authors.ChannelGate(CHANNELS, 16, ("avg",))),
    "bam": (BAM(8), authors.BAM(CHANNELS, 8)),
}


@pytest.fixture
def x(rng):
    return rng.normal(0, 1, (4, 7, 9, CHANNELS)).astype("float32")


@pytest.fixture
def module():
    """The authors' CBAM with random weights and statistics."""
    return randomized(authors.CBAM(CHANNELS, 8))


def randomized(module):
    torch.manual_seed(0)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            value.uniform_(0.3, 1.5) if "running_var" in name else value.normal_(0, 0.4)
    return module


@pytest.mark.parametrize("name", CASES)
def test_same_outputs_in_both_modes(name, x):
    layer, module = CASES[name]
    first = layer.data_format == "channels_first"
    given = x.transpose(0, 3, 1, 2) if first else x
    layer.build(given.shape)
    load_reference_module(layer, randomized(module).state_dict())
    for training in (False, True):
        module.train(training)
        with torch.no_grad():
            expected = module(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
        found = numpy(layer(given, training=training))
        found = found if first else found.transpose(0, 3, 1, 2)
        gates = expected / x.transpose(0, 3, 1, 2)
        assert np.ptp(gates) > 0.1  # The reference varies.
        assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)
    # Moving means have moved alike; variances do not, PyTorch divides by one less.
    moved = type(layer).from_config(layer.get_config())
    moved.build(given.shape)
    load_reference_module(moved, module.state_dict())
    for a, b in zip(layer.weights, moved.weights, strict=True):
        if "moving_mean" in a.path:
            assert np.abs(numpy(a) - numpy(b)).max() < 1e-5 * max(np.abs(numpy(b)).max(), 1)


def test_a_prefix_picks_one_module_of_a_network(module, x):
    layers = [CBAM(8), CBAM(8)]
    state = {f"module.layer1.0.cbam.{name}": v for name, v in module.state_dict().items()}
    for layer, names, prefix in (
        (layers[0], module.state_dict(), ""),
        (layers[1], {**state, "module.fc.weight": np.zeros(3)}, "module.layer1.0.cbam."),
    ):
        layer.build(x.shape)
        load_reference_module(layer, names, prefix)
    assert np.array_equal(numpy(layers[0](x)), numpy(layers[1](x)))


def test_all_that_does_not_fit_is_listed_and_nothing_changes(module, x):
    layer = CBAM(4, spatial_pooling=("avg", "max", "conv"))
    layer.build(x.shape)
    before = layer.get_weights()
    state = module.state_dict()
    state["ChannelGate.scale"] = state.pop("ChannelGate.mlp.3.bias")
    with pytest.raises(ValueError, match="does not fit CBAM 'cbam") as error:
        load_reference_module(layer, state)
    for part in (
        "missing: ChannelGate.mlp.3.bias; ",
        "unexpected: ChannelGate.scale; ",
        "of another shape: ChannelGate.mlp.1.weight, (4, 32) in place of (8, 32), ",
        "SpatialGate.spatial.conv.weight, (1, 2, 7, 7) in place of (1, 3, 7, 7); ",
        "without a counterpart in the authors' code: spatial_attention/pool/kernel",
    ):
        assert part in str(error.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (CBAM(), r"^Argument `layer` must be built.*Received: layer=<CBAM"),
        *(
            (
                layer,
                rf"^Argument `layer` must have `{option}` of .*Received: layer=<.* with {option}=",
            )
            for option, layer in (
                ("identity_init", CBAM(identity_init=True)),
                ("gate_activation", ChannelAttention(gate_activation="hard_sigmoid")),
                ("hidden_activation", CBAM(hidden_activation="tanh")),
                ("order", CBAM(order="parallel")),
                ("fusion", BAM(fusion="add")),
            )
        ),
        (keras.layers.Dense(2), r"^Argument `layer` must be one of \('ChannelAttention', .*<Dense"),
    ],
)
def test_layers_that_cannot_take_them(layer, message, module, x):
    if "must have" in message:
        layer.build(x.shape)
    with pytest.raises(ValueError, match=message):
        load_reference_module(layer, module.state_dict())
