"""Every option changes what the layer does."""

import keras
import numpy as np
import pytest

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from tests.layers.registry import SHAPE, Variant, every_layer, named_weights, numpy, wide

pytestmark = pytest.mark.backends


def trainable(layer, channels):
    layer.build((None, None, None, channels))
    return sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)


PARAMETERS = [
    # MLP 64*4 + 4 + 4*64 + 64, convolution 7*7*2, gamma and beta.
    (CBAM(), 64, 580 + 98 + 2),
    (CBAM(order="parallel"), 64, 580 + 98 + 2),
    (CBAM(order="channel"), 64, 580),
    (CBAM(order="spatial"), 64, 98 + 2),
    # 64 for the pool, 3*3 for the convolution and a bias.
    (SpatialAttention(3, pooling="conv", use_batch_norm=False), 64, 64 + 9 + 1),
    (ChannelAttention(use_bias=False), 64, 512),
    (SqueezeExcite(), 64, 580),
    (SqueezeExcite(4), 64, 64 * 16 * 2 + 16 + 64),
    # MLP 64*16*2, convolution 3*3*2 and its bias.
    (CBAM(4, 3, use_bias=False, use_batch_norm=False), 64, 2048 + 19),
    # Channel: MLP and normalization; spatial: 64*4 + 4, twice 3*3*4*4 + 4, 4 + 1, three times 8.
    (BAM(), 64, 580 + 8 + 260 + 2 * 148 + 5 + 24),
    # Narrower than the reduction ratio: one hidden channel.
    (ChannelAttention(), 3, 3 + 1 + 3 + 3),
    (BAM(), 3, 10 + 2 + 4 + 2 * 10 + 2 + 6),
]


@pytest.mark.parametrize(("layer", "channels", "expected"), PARAMETERS)
def test_parameter_counts_worked_by_hand(layer, channels, expected):
    assert trainable(layer, channels) == expected


# By the ends of ResNet18's first three stages, the difference that the authors' BAM makes.
def test_bam_counts_are_the_papers():
    assert (
        sum(trainable(BAM(kernel_initializer="zeros"), channels) for channels in (64, 128, 256))
        == 11712503 - 11689512
    )


NUMERIC = [
    (ChannelAttention, {"pooling": "max"}),
    (ChannelAttention, {"pooling": ("avg", "max", "lp")}),
    (ChannelAttention, {"hidden_activation": "tanh"}),
    (ChannelAttention, {"gate_activation": "hard_sigmoid"}),
    (ChannelAttention, {"gate_activation": keras.ops.tanh}),
    (ChannelAttention, {"identity_init": True}),
    (SpatialAttention, {"pooling": ("max", "avg")}),
    (SpatialAttention, {"gate_activation": "hard_sigmoid"}),
    (SpatialAttention, {"identity_init": True}),
    (CBAM, {"order": "spatial_channel"}),
    (CBAM, {"order": "parallel"}),
    (CBAM, {"channel_pooling": "lse"}),
    (CBAM, {"spatial_pooling": ("max", "avg")}),
    (CBAM, {"hidden_activation": "tanh"}),
    (CBAM, {"gate_activation": "hard_sigmoid"}),
    (SqueezeExcite, {"hidden_activation": "tanh"}),
    (BAM, {"dilation": 1}),
    (BAM, {"fusion": "add"}),
    (BAM, {"hidden_activation": "tanh"}),
    (BAM, {"gate_activation": "hard_sigmoid"}),
]


@pytest.mark.parametrize(("layer_class", "options"), NUMERIC)
def test_option_changes_the_numbers(layer_class, options, rng):
    """With the same weights."""
    x = rng.normal(0, 1, SHAPE).astype("float32")
    common = {} if layer_class is SpatialAttention else {"reduction_ratio": 4}
    plain, changed = (
        Variant(layer_class, {**common, **given}).built(SHAPE) for given in ({}, options)
    )
    for a, b in zip(plain.weights, changed.weights, strict=True):
        b.assign(a)
    assert np.abs(numpy(plain(x)) - numpy(changed(x))).max() > 1e-3


INITIAL = [
    (ChannelAttention, {}, "kernel_initializer", "squeeze/kernel"),
    (ChannelAttention, {}, "bias_initializer", "excite/bias"),
    (SpatialAttention, {}, "kernel_initializer", "kernel"),
    (SpatialAttention, {"pooling": "conv"}, "kernel_initializer", "pool/kernel"),
    (SpatialAttention, {"use_batch_norm": False}, "bias_initializer", "bias"),
    (SpatialAttention, {}, "gamma_initializer", "batch_norm/gamma"),
    (CBAM, {}, "kernel_initializer", "spatial_attention/kernel"),
    (CBAM, {}, "bias_initializer", "channel_attention/squeeze/bias"),
    (CBAM, {}, "gamma_initializer", "spatial_attention/batch_norm/gamma"),
    (SqueezeExcite, {}, "kernel_initializer", "excite/kernel"),
    (SqueezeExcite, {}, "bias_initializer", "excite/bias"),
    (BAM, {}, "kernel_initializer", "dilated_1/kernel"),
    (BAM, {}, "bias_initializer", "score/bias"),
]


@pytest.mark.parametrize(("layer_class", "options", "initializer", "name"), INITIAL)
def test_initializers(layer_class, options, initializer, name):
    plain = layer_class(**options)
    changed = layer_class(**options, **{initializer: keras.initializers.Constant(0.7)})
    for layer, same in ((plain, False), (changed, True)):
        layer.build(SHAPE)
        assert np.all(named_weights(layer)[name] == np.float32(0.7)) == same


@every_layer
def test_kernels_of_one_layer_are_drawn_apart(variant):
    """An unseeded Keras initializer repeats its draw where the same object is used twice."""
    layer = variant.make()
    layer.build(SHAPE)
    kernels = [w.ravel()[:4] for name, w in named_weights(layer).items() if "kernel" in name]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)


@every_layer
@pytest.mark.parametrize("kind", ["kernel", "bias"])
def test_regularizers(variant, kind):
    """The penalty is that of each kernel, or of each bias."""
    options = {"use_batch_norm": False} if variant.layer_class in (CBAM, SpatialAttention) else {}
    regularizer = {f"{kind}_regularizer": keras.regularizers.L2(0.5)}
    layer = variant.built(SHAPE, **options, **regularizer)
    squares = [(w**2).sum() for name, w in named_weights(layer).items() if name.endswith(kind)]
    assert len(layer.losses) == len(squares) > 0
    assert sum(float(numpy(loss)) for loss in layer.losses) == pytest.approx(0.5 * sum(squares))
    assert not variant.built(SHAPE, **options).losses


def test_squeeze_excite_is_channel_attention_from_the_mean(rng):
    x = rng.normal(0, 1, SHAPE).astype("float32")
    layer = Variant(SqueezeExcite).built(SHAPE)
    same = ChannelAttention(pooling="avg")
    same.build(SHAPE)
    same.set_weights(layer.get_weights())
    assert np.array_equal(numpy(layer(x)), numpy(same(x)))


def test_half_a_cbam_is_that_half(rng):
    x = rng.normal(0, 1, SHAPE).astype("float32")
    for order, half in (("channel", ChannelAttention()), ("spatial", SpatialAttention())):
        layer = Variant(CBAM, {"order": order}).built(SHAPE)
        half.build(SHAPE)
        half.set_weights(layer.get_weights())
        assert np.array_equal(numpy(layer(x)), numpy(half(x)))
        in_half = [
            type(a).from_config({**a.get_config(), "dtype": "mixed_float16"}) for a in (layer, half)
        ]
        for a in in_half:
            a.build(SHAPE)
            a.set_weights(layer.get_weights())
        assert np.array_equal(*(wide(a(x)) for a in in_half))
        gates = dict(zip(("channel", "spatial"), layer.attention(x), strict=True))
        assert np.array_equal(numpy(gates.pop(order)), numpy(half.attention(x)))
        assert list(gates.values()) == [None]


def test_channels_may_be_undefined_where_no_weight_depends_on_them(rng):
    layer = SpatialAttention()
    assert layer(keras.Input((None, None, 16))).shape == (None, None, None, 16)
    assert layer(keras.Input((None, None, None))).shape == (None, None, None, None)
    for channels in (3, 5):
        x = rng.normal(0, 1, (1, 4, 4, channels)).astype("float32")
        assert layer(x).shape == x.shape
