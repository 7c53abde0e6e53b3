"""Wrong arguments and inputs are refused in one sentence: what was expected, and what came."""

import keras
import numpy as np
import pytest

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from tests.layers.registry import SHAPE, every_layer

pytestmark = pytest.mark.backends

LAST = r"\(batch, height, width, channels\) for data_format='channels_last'"
FIRST = r"\(batch, channels, height, width\) for data_format='channels_first'"
BAD_ARGUMENTS = [
    *(
        (
            lambda c=c, v=v: c(reduction_ratio=v),
            r"^Argument `reduction_ratio` must be an integer of at least 1\. "
            rf"Received: reduction_ratio={v}$",
        )
        for c in (ChannelAttention, CBAM, SqueezeExcite, BAM)
        for v in (0, 2.5, True)
    ),
    *(
        (
            lambda c=c, v=v: c(kernel_size=v),
            r"^Argument `kernel_size` must be an odd integer of at least 1\. "
            rf"Received: kernel_size={v}$",
        )
        for c in (SpatialAttention, CBAM)
        for v in (4, -1)
    ),
    (
        lambda: BAM(dilation=0),
        r"^Argument `dilation` must be an integer of at least 1\. Received: dilation=0$",
    ),
    (
        lambda: ChannelAttention(pooling="median"),
        r"^Argument `pooling` must name one or more of \('avg', 'max', 'lp', 'lse'\), each once\. "
        "Received: pooling=median$",
    ),
    *(
        (
            lambda v=v: ChannelAttention(pooling=v),
            r"^Argument `pooling` must name one or more of .* Received: pooling=",
        )
        for v in (None, 3, [["avg"]], {"avg", "max"})
    ),
    (lambda: CBAM(order=["parallel"]), r"^Argument `order` must be one of .* Received: order=\["),
    (lambda: CBAM(data_format=""), r"^Argument `data_format` must be one of .* Received: data_"),
    (
        lambda: SpatialAttention(pooling=("avg", "avg")),
        r"^Argument `pooling` must name one or more of \('avg', 'max', 'conv'\), each once\. "
        r"Received: pooling=\('avg', 'avg'\)$",
    ),
    (
        lambda: CBAM(channel_pooling=()),
        r"^Argument `channel_pooling` must name one or more of \('avg', 'max', 'lp', 'lse'\), "
        r"each once\. Received: channel_pooling=\(\)$",
    ),
    (
        lambda: CBAM(spatial_pooling="lp"),
        r"^Argument `spatial_pooling` must name one or more of \('avg', 'max', 'conv'\), each "
        r"once\. Received: spatial_pooling=lp$",
    ),
    (
        lambda: CBAM(order="channels_first"),
        r"^Argument `order` must be one of \('channel_spatial', 'spatial_channel', 'parallel', "
        r"'channel', 'spatial'\)\. Received: order=channels_first$",
    ),
    (
        lambda: BAM(fusion="max"),
        r"^Argument `fusion` must be one of \('multiply', 'add'\)\. Received: fusion=max$",
    ),
    (
        lambda: CBAM(data_format="NHWC"),
        r"^Argument `data_format` must be one of \('channels_last', 'channels_first'\)\. "
        "Received: data_format=NHWC$",
    ),
    *(
        (
            lambda c=c: c(gate_activation="gate"),
            r"^Argument `gate_activation` must be a function or the name of one of "
            r"`keras\.activations`, such as 'relu', 'sigmoid' or 'hard_sigmoid'\. "
            "Received: gate_activation=gate$",
        )
        for c in (ChannelAttention, SpatialAttention, CBAM, SqueezeExcite, BAM)
    ),
    (
        lambda: ChannelAttention(hidden_activation=3),
        "^Argument `hidden_activation` must be a function or .* Received: hidden_activation=3$",
    ),
    *(
        (
            lambda c=c: c(identity_init=True, gate_activation="relu"),
            r"^With `identity_init=True`, argument `gate_activation` must be 0\.5 at zero, as "
            r"sigmoid and hard_sigmoid are\. "
            r"Received: gate_activation=relu, which is 0\.0 at zero$",
        )
        for c in (ChannelAttention, SpatialAttention, CBAM, SqueezeExcite, BAM)
    ),
    *(
        (
            lambda c=c: c()(keras.Input((8, 8, None))),
            rf"^The channel dimension of the inputs to {name} must be defined, {LAST}\. "
            r"Received: input_shape=\(None, 8, 8, None\)$",
        )
        for c, name in (
            (ChannelAttention, "ChannelAttention"),
            (CBAM, "ChannelAttention"),
            (SqueezeExcite, "SqueezeExcite"),
            (BAM, "BAM"),
        )
    ),
    (
        lambda: SpatialAttention(pooling="conv")(keras.Input((8, 8, None))),
        r"^The channel dimension of the inputs to SpatialAttention must be defined",
    ),
    *(
        (
            lambda c=c: c()(keras.Input((8, 16))),
            rf"^Inputs to {c.__name__} must be of rank 4, {LAST}\. "
            r"Received: input_shape=\(None, 8, 16\)$",
        )
        for c in (ChannelAttention, SpatialAttention, CBAM, SqueezeExcite, BAM)
    ),
    (
        lambda: CBAM(data_format="channels_first").attention(np.zeros((1, 2, 3, 4, 5))),
        rf"^Inputs to CBAM must be of rank 4, {FIRST}\. "
        r"Received: input_shape=\(1, 2, 3, 4, 5\)$",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD_ARGUMENTS)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("activation", [keras.layers.PReLU(), "gate", 3])
def test_hidden_activation_is_a_function(activation):
    with pytest.raises(
        ValueError, match=r"^Argument `hidden_activation` must be a function or the"
    ):
        ChannelAttention(hidden_activation=activation)


@every_layer
def test_inputs_unlike_those_it_was_built_for_are_refused(variant):
    layer = variant.built(SHAPE)
    if variant.layer_class is not SpatialAttention:
        message = f"layer .{layer.name}. .* expected axis -1 of input shape to have value 16"
        with pytest.raises(ValueError, match=message):
            layer(np.zeros((1, 6, 9, 8), "float32"))
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        layer(np.zeros((6, 9, 16), "float32"))
    with pytest.raises(ValueError, match=r"must be of rank 4.*Received: input_shape=\(6, 9, 16\)$"):
        layer.attention(np.zeros((6, 9, 16), "float32"))
