"""multiply_adds against counts worked by hand."""

import keras
import pytest
from keras import layers, ops

from keras_cbam import BAM, CBAM
from keras_cbam.surgery import multiply_adds
from keras_cbam.surgery.multiply_add_rules import LAYERS, OPERATIONS
from tests.backend import quick_on
from tests.surgery.graphs import GRAPHS
from tests.surgery.proof import assert_same_state, state

pytestmark = [pytest.mark.backends, quick_on("tensorflow")]


class Own(layers.Layer):
    """A layer of a layer and an operation."""

    def build(self, shape):
        self.inner = layers.Conv2D(4, 3, padding="same")
        self.inner.build(shape)
        self.kernel = self.add_weight(shape=(4, 6))

    def call(self, x):
        return ops.matmul(self.inner(x), self.kernel)


SHARED = layers.Conv2D(3, 3, padding="same")


def nested(x):
    inner = keras.Input((None, None, 3))
    model = keras.Model(inner, layers.Conv2D(5, 1, name="mix")(inner), name="nested")
    return ops.concatenate([model(x), model(ops.flip(x, 1))])


LINE, CUBE, MAP = (8, 3), (4, 8, 6, 3), (8, 6, 3)
# What is made of inputs of a shape, and how many multiply-adds that takes, worked by hand.
CASES = {
    "Conv1D": (LINE, layers.Conv1D(5, 3, padding="same"), 8 * 3 * 3 * 5),
    "Conv2D": (MAP, layers.Conv2D(5, 3, padding="same"), 8 * 6 * 9 * 3 * 5),
    "Conv3D": (CUBE, layers.Conv3D(5, 3, padding="same"), 4 * 8 * 6 * 27 * 3 * 5),
    "strided": (MAP, layers.Conv2D(5, 3, 2, padding="same"), 4 * 3 * 9 * 3 * 5),
    "valid": (MAP, layers.Conv2D(5, 3), 6 * 4 * 9 * 3 * 5),
    "dilated": (MAP, layers.Conv2D(5, 3, padding="same", dilation_rate=2), 8 * 6 * 9 * 3 * 5),
    "grouped": (MAP, layers.Conv2D(6, 3, padding="same", groups=3), 8 * 6 * 9 * 1 * 6),
    "DepthwiseConv1D": (LINE, layers.DepthwiseConv1D(3, padding="same"), 8 * 3 * 3),
    "DepthwiseConv2D": (
        MAP,
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        8 * 6 * 9 * 6,
    ),
    "SeparableConv1D": (LINE, layers.SeparableConv1D(5, 3, padding="same"), 8 * (9 + 15)),
    "SeparableConv2D": (MAP, layers.SeparableConv2D(5, 3, padding="same"), 8 * 6 * (27 + 15)),
    "Conv1DTranspose": (LINE, layers.Conv1DTranspose(5, 2, 2), 8 * 2 * 3 * 5),
    "Conv2DTranspose": (MAP, layers.Conv2DTranspose(5, 2, 2), 8 * 6 * 4 * 3 * 5),
    "Conv3DTranspose": (CUBE, layers.Conv3DTranspose(5, 2, 2), 4 * 8 * 6 * 8 * 3 * 5),
    "Dense": (MAP, layers.Dense(5), 8 * 6 * 3 * 5),
    "EinsumDense": (MAP, layers.EinsumDense("abcd,de->abce", (None, 6, 5)), 8 * 6 * 3 * 5),
    "EinsumDense, then Dense": (
        LINE,
        lambda x: layers.Dense(2)(layers.EinsumDense("abc,cd->abd", (None, 5))(x)),
        8 * 3 * 5 + 8 * 5 * 2,
    ),
    "Conv": (MAP, lambda x: ops.conv(x, ops.ones((3, 3, 3, 5))), 6 * 4 * 9 * 3 * 5),
    "DepthwiseConv": (MAP, lambda x: ops.depthwise_conv(x, ops.ones((3, 3, 3, 2))), 24 * 9 * 6),
    "SeparableConv": (
        MAP,
        lambda x: ops.separable_conv(x, ops.ones((3, 3, 3, 1)), ops.ones((1, 1, 3, 5))),
        6 * 4 * (27 + 15),
    ),
    "ConvTranspose": (
        MAP,
        lambda x: ops.conv_transpose(x, ops.ones((2, 2, 5, 3)), strides=2),
        8 * 6 * 4 * 3 * 5,
    ),
    "Matmul": (MAP, lambda x: ops.matmul(x, ops.ones((3, 5))), 8 * 6 * 3 * 5),
    "Einsum": (MAP, lambda x: ops.einsum("bhwc,bhwd->bcd", x, x), 8 * 6 * 3 * 3),
    "Einsum, batch last": (
        MAP,
        lambda x: ops.einsum("cd,bhwc->bhwd", ops.ones((3, 5)), x),
        8 * 6 * 3 * 5,
    ),
    "Einsum of dots": (MAP, lambda x: ops.einsum("...c,cd->...d", x, ops.ones((3, 5))), 720),
    "Einsum of repeated dots": (
        MAP,
        lambda x: ops.einsum("...ij,...jk->...ik", x, ops.ones((1, 1, 3, 5))),
        8 * 6 * 3 * 5,
    ),
    "DotProductAttention": (
        (10, 2, 8),
        # 10 queries of 8 in each of 2 heads, 10 keys of 8, 10 values of 4.
        lambda x: ops.dot_product_attention(x, x, x[..., :4]),
        2 * 10 * 10 * 8 + 2 * 10 * 10 * 4,
    ),
    "MultiHeadAttention": (
        (10, 16),
        lambda x: layers.MultiHeadAttention(2, 8)(x, x),
        4 * 10 * 16 * 16 + 2 * 10 * 10 * 16,
    ),
    "Attention": ((10, 16), lambda x: layers.Attention()([x, x]), 2 * 10 * 10 * 16),
    "Dot": ((10, 16), lambda x: layers.Dot(axes=2)([x, x]), 10 * 10 * 16),
    "merged batch": (MAP, lambda x: layers.Dense(5)(ops.reshape(x, (-1, 3))), 8 * 6 * 3 * 5),
    "windows": (MAP, lambda x: layers.Dense(5)(ops.reshape(x, (-1, 4, 3))), 8 * 6 * 3 * 5),
    "free": (
        MAP,
        lambda x: layers.PReLU(shared_axes=[1])(layers.LayerNormalization(axis=[1, 2, 3])(x)),
        0,
    ),
    "preprocessing": (
        MAP,
        lambda x: layers.Dense(5)(layers.Resizing(4, 4)(layers.RandomFlip()(x))),
        4 * 4 * 3 * 5,
    ),
    "wrapped": (MAP, layers.TimeDistributed(layers.Dense(5)), 8 * 6 * 3 * 5),
    "operations": (MAP, lambda x: ops.relu(ops.mean(x, 1) + 1) * 2, 0),
    "shared": (MAP, lambda x: SHARED(SHARED(x)), 2 * 8 * 6 * 9 * 3 * 3),
    "nested": (MAP, nested, 2 * 8 * 6 * 3 * 5),
    "own layer": (MAP, Own(), 8 * 6 * (9 * 3 * 4 + 4 * 6)),
    # Twice an MLP of 3 -> 1 -> 3, and 7x7 over two maps of 8x6.
    "cbam": (MAP, CBAM(), 2 * 2 * 3 + 2 * 49 * 8 * 6),
    # An MLP of 3 -> 1 -> 3; at each place 3 -> 1, twice 3x3 from 1 to 1, and 1 -> 1.
    "bam": (MAP, BAM(), 2 * 3 + 8 * 6 * (3 + 2 * 9 + 1)),
    "lambda": (MAP, layers.Lambda(lambda x: ops.matmul(x, ops.ones((3, 5)))), 8 * 6 * 3 * 5),
}


@pytest.mark.parametrize("case", CASES)
def test_counts_worked_by_hand(case):
    shape, make, expected = CASES[case]
    inputs = keras.Input(shape)
    assert sum(multiply_adds(keras.Model(inputs, make(inputs))).values()) == expected


def test_channels_first():
    inputs = keras.Input((3, 8, 6))
    x = layers.Conv2D(5, 3, 2, padding="same", data_format="channels_first")(inputs)
    model = keras.Model(inputs, CBAM(data_format="channels_first", name="cbam")(x))
    counts = multiply_adds(model)
    assert counts["cbam"] == 2 * 2 * 5 + 2 * 49 * 4 * 3
    assert sum(counts.values()) == 4 * 3 * 9 * 3 * 5 + counts["cbam"]


def test_counts_stand_under_addresses():
    model = GRAPHS["nested_twice"].build()
    counts = multiply_adds(model)
    # From 32x32x3, the second convolution of a block of stride 2 and 16 filters.
    assert counts["features/backbone/block1_2_conv"] == 16 * 16 * 9 * 16 * 16
    assert counts["scores"] == 32 * 3


@pytest.mark.parametrize("name", ["two_inputs", "detector", "mixed_precision", "sequential"])
def test_the_model_stays_as_it_was(name):
    model = GRAPHS[name].build()
    before = state(model)
    assert multiply_adds(model)
    assert_same_state(state(model), before)


def test_open_sizes_are_given():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, CBAM()(layers.Conv2D(4, 3, padding="same")(inputs)))
    closed = keras.Input((8, 6, 3))
    again = keras.Model(closed, CBAM()(layers.Conv2D(4, 3, padding="same")(closed)))
    assert list(multiply_adds(model, (8, 6, 3)).values()) == list(multiply_adds(again).values())
    with pytest.raises(ValueError, match=r"must be defined.*give `input_shape`"):
        multiply_adds(model)
    for shape in ((8, 6, 4), (8, 6), (8, 6, 3, 1), 8):
        with pytest.raises(
            ValueError, match="`input_shape` must be a shape of the model's one input"
        ):
            multiply_adds(model, shape)
    with pytest.raises(ValueError, match="must be a shape of the model's one input"):
        multiply_adds(GRAPHS["siamese"].build(), (32, 32, 3))


class Hidden(layers.Layer):
    """A layer that computes outside of Keras."""

    def call(self, x):
        return x.values()

    def compute_output_shape(self, shape):
        return shape


def test_every_rule_has_a_case():
    assert {*LAYERS, *OPERATIONS} <= set(CASES)


def test_low_rank_adaptation_and_int8_count_as_the_layer_does():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(8, name="dense")(inputs))
    model.get_layer("dense").enable_lora(2)
    assert multiply_adds(model) == {"dense": 3 * 8}
    model.get_layer("dense").quantize("int8")
    assert multiply_adds(model) == {"dense": 3 * 8}


def test_packed_kernels_are_refused():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(8, name="dense")(inputs))
    model.get_layer("dense").quantize("int4")
    with pytest.raises(TypeError, match="of class Dense cannot be counted: quantized to int4"):
        multiply_adds(model)


def lstm(x):
    return layers.LSTM(4, name="recurrent")(x)


REFUSED = {
    "recurrent": (lstm, "Layer recurrent of class LSTM cannot be counted"),
    "hidden": (Hidden(name="hidden"), "Layer hidden of class Hidden cannot be counted: what it"),
    "dot": (
        lambda x: ops.dot(x, ops.ones((3, 5))),
        "Operation dot.* of class Dot cannot be counted: it may multiply matrices",
    ),
    "map": (
        lambda x: ops.vectorized_map(lambda y: ops.matmul(y, ops.ones((3, 5))), x),
        "of class VectorizedMap cannot be counted",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_counted_is_refused(case):
    make, message = REFUSED[case]
    inputs = keras.Input((8, 3))
    with pytest.raises(TypeError, match=message):
        multiply_adds(keras.Model(inputs, make(inputs)))
