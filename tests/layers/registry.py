"""Every public attention layer, in the variants that every test of the contract goes through."""

import contextlib
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest

from keras_cbam import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from tests.backend import BACKEND
from tests.layers import reference

REFERENCES = {
    BAM: reference.bam,
    CBAM: reference.cbam,
    ChannelAttention: reference.channel_attention,
    SpatialAttention: reference.spatial_attention,
    SqueezeExcite: reference.squeeze_excite,
}
# One shape wherever the shape does not matter: backends compile for each.
SHAPE = (3, 6, 9, 16)
# Options that show in the shapes of the weights, so that the reference needs no word of them.
SEEN_IN_WEIGHTS = {
    "reduction_ratio",
    "kernel_size",
    "use_bias",
    "use_batch_norm",
    "data_format",
    "dtype",
    "name",
}


@dataclass(frozen=True)
class Variant:
    layer_class: type
    options: dict = field(default_factory=dict)

    def make(self, **options):
        return self.layer_class(**{**self.options, **options})

    def built(self, shape, seed=0, **options):
        """A layer for feature maps of `shape`, (N, H, W, C), with random weights."""
        layer = self.make(kernel_initializer="zeros", **options)
        layer.build(shape if layer.data_format == "channels_last" else to_first(shape))
        randomize(layer, np.random.default_rng(seed))
        return layer

    def expected(self, layer, x, training=False, **options):
        """What the reference makes of x, (N, H, W, C), with the layer's weights."""
        weights = {k: v.astype("float64") for k, v in named_weights(layer).items()}
        return self.reference(x.astype("float64"), weights, training=training, **options)

    def reference(self, x, weights, **options):
        options = {**self.options, **options}
        seen = {k: v for k, v in options.items() if k not in SEEN_IN_WEIGHTS}
        return REFERENCES[self.layer_class](x, weights, **seen)


SMALL = {"reduction_ratio": 4}
VARIANTS = {
    "cbam": Variant(CBAM, {**SMALL, "kernel_size": 3}),
    "cbam_spatial_channel": Variant(CBAM, {**SMALL, "order": "spatial_channel"}),
    "cbam_parallel": Variant(CBAM, {**SMALL, "order": "parallel", "use_batch_norm": False}),
    "cbam_channel": Variant(CBAM, {**SMALL, "order": "channel"}),
    "cbam_spatial": Variant(CBAM, {"order": "spatial", "spatial_pooling": ("conv",)}),
    "channel": Variant(ChannelAttention, SMALL),
    "channel_lp_lse": Variant(
        ChannelAttention, {**SMALL, "pooling": ("lp", "lse"), "gate_activation": "hard_sigmoid"}
    ),
    "spatial": Variant(SpatialAttention),
    "spatial_conv": Variant(
        SpatialAttention, {"kernel_size": 5, "pooling": ("conv",), "use_batch_norm": False}
    ),
    "squeeze_excite": Variant(SqueezeExcite, SMALL),
    "bam": Variant(BAM, SMALL),
    "bam_add": Variant(BAM, {**SMALL, "fusion": "add", "dilation": 2}),
}
both_formats = pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
both_modes = pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
# One variant of each class, for tests that take long.
FIRST_OF_EACH = {variant.layer_class: name for name, variant in reversed(VARIANTS.items())}


def variants(names, later=()):
    """Mark for a test of these variants, some of them in `make test-all` alone."""
    cases = [
        pytest.param(VARIANTS[name], id=name, marks=pytest.mark.slow if name in later else ())
        for name in names
    ]
    return pytest.mark.parametrize("variant", cases)


every_layer = variants(FIRST_OF_EACH.values())
every_variant_everywhere = variants(VARIANTS)
# JAX compiles each variant anew. There `make test` tries these, and `test_agrees_with_numpy` all.
QUICK_ON_JAX = {*FIRST_OF_EACH.values(), "cbam_parallel", "channel_lp_lse", "spatial_conv"}
every_variant = variants(VARIANTS, later=set(VARIANTS) - QUICK_ON_JAX if BACKEND == "jax" else ())


def wide_bottleneck(variant):
    """With few hidden units the drawn ones may all be dead, and nothing reaches their weights."""
    return {"reduction_ratio": 1} if "reduction_ratio" in variant.options else {}


def double_precision(policy):
    """JAX computes in float64 only where told to."""
    if policy != "float64" or BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def wide(x):
    """NumPy float64 of a tensor of any type: NumPy itself has no bfloat16."""
    return numpy(keras.ops.cast(x, "float32")).astype("float64")


def present(gates):
    """The gates of `attention` as a tuple, without those that an order leaves out."""
    return tuple(g for g in (gates if isinstance(gates, tuple) else (gates,)) if g is not None)


def to_first(shape):
    return (shape[0], shape[3], shape[1], shape[2])


def put(x, data_format):
    """An (N, H, W, C) array in a data format."""
    return x if data_format == "channels_last" else x.transpose(0, 3, 1, 2)


def back(x, data_format):
    """An array in a data format as (N, H, W, C)."""
    return x if data_format == "channels_last" else x.transpose(0, 2, 3, 1)


def reach(x):
    """The range of an array, zero included."""
    return max(x.max(), 0) - min(x.min(), 0)


def named_weights(layer, only=None):
    weights = layer.weights if only is None else only
    return {weight.path.removeprefix(f"{layer.path}/"): numpy(weight) for weight in weights}


def randomize(layer, rng):
    """Random weights, of a size that lets gates vary instead of saturating."""
    for weight in layer.weights:
        if "variance" in weight.path:
            value = rng.uniform(0.2, 1, weight.shape)
        elif "kernel" in weight.path:
            value = rng.normal(0, 1.5 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape)
        else:
            value = rng.normal(0, 0.5, weight.shape)
        weight.assign(value)
