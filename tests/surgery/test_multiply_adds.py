"""multiply_adds against counts worked by hand."""

import keras
import pytest
from keras import layers, ops

from keras_cbam import BAM, CBAM
from keras_cbam.surgery import multiply_adds
from tests.surgery.graphs import GRAPHS
from tests.surgery.proof import assert_same_state, state

pytestmark = pytest.mark.backends


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


# What is made of a map of 8x6x3, and how many multiply-adds that takes.
CASES = {
    "convolution": (layers.Conv2D(5, 3, padding="same"), 8 * 6 * 9 * 3 * 5),
    "strided": (layers.Conv2D(5, 3, 2, padding="same"), 4 * 3 * 9 * 3 * 5),
    "valid": (layers.Conv2D(5, 3), 6 * 4 * 9 * 3 * 5),
    "dilated": (layers.Conv2D(5, 3, padding="same", dilation_rate=2), 8 * 6 * 9 * 3 * 5),
    "grouped": (layers.Conv2D(6, 3, padding="same", groups=3), 8 * 6 * 9 * 1 * 6),
    "depthwise": (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), 8 * 6 * 9 * 6),
    "separable": (layers.SeparableConv2D(5, 3, padding="same"), 8 * 6 * (9 * 3 + 3 * 5)),
    "transposed": (layers.Conv2DTranspose(5, 2, 2), 8 * 6 * 4 * 3 * 5),
    "matrix": (layers.Dense(5), 8 * 6 * 3 * 5),
    "einsum layer": (layers.EinsumDense("abcd,de->abce", (None, None, 5)), 8 * 6 * 3 * 5),
    "convolution by operation": (lambda x: ops.conv(x, ops.ones((3, 3, 3, 5))), 6 * 4 * 9 * 3 * 5),
    "matrix by operation": (lambda x: ops.matmul(x, ops.ones((3, 5))), 8 * 6 * 3 * 5),
    "einsum": (lambda x: ops.einsum("bhwc,bhwd->bcd", x, x), 8 * 6 * 3 * 3),
    "einsum with dots": (lambda x: ops.einsum("...c,cd->...d", x, ops.ones((3, 5))), 8 * 6 * 3 * 5),
    "nothing": (lambda x: layers.BatchNormalization()(layers.ReLU()(ops.mean(x, 1))), 0),
    "shared": (lambda x: SHARED(SHARED(x)), 2 * 8 * 6 * 9 * 3 * 3),
    "nested": (nested, 2 * 8 * 6 * 3 * 5),
    "own layer": (Own(), 8 * 6 * (9 * 3 * 4 + 4 * 6)),
    # Twice an MLP of 3 -> 1 -> 3, and 7x7 over two maps of 8x6.
    "cbam": (CBAM(), 2 * 2 * 3 + 2 * 49 * 8 * 6),
    # An MLP of 3 -> 1 -> 3; at each place 3 -> 1, twice 3x3 from 1 to 1, and 1 -> 1.
    "bam": (BAM(), 2 * 3 + 8 * 6 * (3 + 2 * 9 + 1)),
    "lambda": (layers.Lambda(lambda x: ops.matmul(x, ops.ones((3, 5)))), 8 * 6 * 3 * 5),
}


@pytest.mark.parametrize("case", CASES)
def test_counts_worked_by_hand(case):
    make, expected = CASES[case]
    inputs = keras.Input((8, 6, 3))
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
    # From 32x32x3, the second convolution of a block of stride 2 and 8 filters.
    assert counts["features/backbone/block1_2_conv"] == 16 * 16 * 9 * 8 * 8
    assert counts["scores"] == 16 * 3


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
    for shape in ((8, 6, 4), (8, 6), (8, 6, 3, 1)):
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


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            layers.ConvLSTM2D(4, 3, name="recurrent"),
            "recurrent of class ConvLSTM2D cannot be counted",
        ),
        (
            Hidden(name="hidden"),
            "hidden of class Hidden cannot be counted: what it computes cannot",
        ),
    ],
)
def test_what_cannot_be_seen_is_refused(layer, message):
    inputs = keras.Input((4, 8, 6, 3))
    with pytest.raises(TypeError, match=message):
        multiply_adds(keras.Model(inputs, layer(inputs)))
