"""Nothing overflows in float16 that is representable there, forwards or backwards."""

import keras
import numpy as np
import pytest

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from tests.backend import BACKEND, quick, quick_on
from tests.layers.gradients import gradients
from tests.layers.registry import Variant, present, wide

pytestmark = pytest.mark.backends

SHAPE = (1, 512, 512, 4)
LARGEST = 65504
# Where Keras's LossScaleOptimizer starts.
LOSS_SCALE = 2.0**15
CHANNEL_POOLS = ("avg", "max", "lp", "lse")
SPATIAL_POOLS = ("avg", "max", "conv")
CASES = {
    **{
        f"channel_{pool}": Variant(ChannelAttention, {"pooling": (pool,)}) for pool in CHANNEL_POOLS
    },
    **{
        f"spatial_{pool}": Variant(SpatialAttention, {"pooling": (pool,)}) for pool in SPATIAL_POOLS
    },
    "squeeze_excite": Variant(SqueezeExcite),
    "bam": Variant(BAM),
    "bam_add": Variant(BAM, {"fusion": "add"}),
    **{
        f"cbam_{order}": Variant(
            CBAM,
            {"order": order, "channel_pooling": CHANNEL_POOLS, "spatial_pooling": SPATIAL_POOLS},
        )
        for order in ("channel_spatial", "spatial_channel", "parallel")
    },
    "cbam_without_batch_norm": Variant(CBAM, {"use_batch_norm": False}),
}
# JAX compiles each of them; each pooling is in one of these.
QUICK = {"squeeze_excite", "bam", "cbam_channel_spatial", "cbam_without_batch_norm"}
every_case = pytest.mark.parametrize("name", quick(CASES, QUICK if BACKEND == "jax" else CASES))


@pytest.fixture(scope="module")
def inputs():
    """A feature map of 512x512 that reaches 6e4: a channel of either sign, two of one, one dead."""
    x = np.random.default_rng(0).uniform(-6e4, 6e4, SHAPE)
    x = np.stack([x[..., 0], np.abs(x[..., 1]), -np.abs(x[..., 2]), 0 * x[..., 3]], axis=-1)
    return keras.ops.cast(keras.ops.convert_to_tensor(x, dtype="float32"), "float16")


@every_case
@pytest.mark.parametrize(
    "identity_init",
    # JAX compiles each of them.
    [False, pytest.param(True, marks=quick_on("tensorflow", "torch"))],
    ids=["paper", "identity"],
)
def test_outputs_and_gradients_are_finite(name, identity_init, inputs):
    case = CASES[name]
    layer = case.built(SHAPE, dtype="mixed_float16", identity_init=identity_init)
    outputs = wide(layer(inputs))
    product = np.abs(wide(inputs))
    for gate in present(layer.attention(inputs)):
        product = product * wide(gate)
    representable = product < 0.99 * LARGEST
    assert np.isfinite(outputs[representable]).all()
    if case.layer_class is not BAM and not identity_init:
        assert representable.all()
    assert np.ptp(outputs[representable]) > 0
    for scale in (1.0, LOSS_SCALE):
        by_x, by_weights = gradients(
            layer,
            inputs,
            lambda y, scale=scale: scale * keras.ops.mean(keras.ops.cast(y, "float32")),
            training=True,
        )
        assert np.isfinite(by_x).all()
        assert all(np.isfinite(g).all() for g in by_weights)


@pytest.mark.parametrize("order", ["channel_spatial", "spatial_channel", "parallel"])
def test_a_product_beyond_the_range_on_the_way_is_not_lost(order, rng):
    """Gates of nearly 2 and nearly 0.5: the first product is over 65504, the second is not."""
    x = rng.uniform(5e4, 6e4, (2, 6, 5, 8))
    case = Variant(CBAM, {"order": order, "use_batch_norm": False, "identity_init": True})
    layer = case.built(x.shape, dtype="mixed_float16")
    gates = {"channel_attention": 2.0, "spatial_attention": -1.1}
    for weight in layer.weights:
        half = next(name for name in gates if name in weight.path)
        weight.assign(keras.ops.zeros(weight.shape))
        if "squeeze" not in weight.path and "bias" in weight.path:
            weight.assign(keras.ops.full(weight.shape, gates[half]))
    given = keras.ops.cast(keras.ops.convert_to_tensor(x, dtype="float32"), "float16")
    expected, (channel, _) = case.expected(layer, wide(given))
    assert (wide(given) * channel).min() > LARGEST
    assert np.abs(wide(layer(given)) / expected - 1).max() < 2**-10
