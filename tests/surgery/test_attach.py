"""attach_attention and attention_points: the right places, nothing lost."""

import keras
import numpy as np
import pytest

from keras_cbam import BAM, CBAM, ChannelAttention, attach_attention, attention_points


def outputs(model, images):
    return keras.ops.convert_to_numpy(model(images))


def test_exact_parameter_count_of_the_paper():
    model = keras.applications.ResNet50(weights=None)
    attached = attach_attention(model, identity_init=False)
    added = sum(int(np.prod(v.shape)) for v in attached.trainable_variables) - sum(
        int(np.prod(v.shape)) for v in model.trainable_variables
    )
    assert added == 28_089_624 - 25_557_032


@pytest.mark.backends
def test_branch_ends_before_dropout(small):
    points = attention_points(small)
    assert [p.layer for p in points] == ["a_bn2", "b_bn2"]
    assert [(p.stage, p.block) for p in points] == [(1, 1), (1, 2)]


@pytest.mark.backends
def test_attached_outputs_agree(small, rng):
    images = rng.uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    expected = outputs(small, images)
    found = outputs(attach_attention(small), images)
    assert np.ptp(expected, axis=0).max() > 1e-2
    assert np.abs(found - expected).max() <= 1e-6 * np.ptp(expected)


def test_sequential_without_residuals(rng):
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(8, 3, activation="relu", name="one"),
            keras.layers.Conv2D(8, 3, activation="relu", name="two"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, 3, activation="relu", name="three"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    assert [p.layer for p in attention_points(model)] == ["two", "three"]
    images = rng.uniform(0, 1, (2, 32, 32, 3)).astype("float32")
    assert np.array_equal(outputs(attach_attention(model), images), outputs(model, images))


@pytest.mark.parametrize("nested", [False, True])
def test_adapted_normalization_keeps_its_statistics(nested, rng):
    inputs = keras.Input((16, 16, 3))
    normalize = keras.layers.Normalization()
    normalize.adapt(rng.uniform(0, 255, (8, 16, 16, 3)))
    first = keras.Sequential([keras.Input((16, 16, 3)), normalize]) if nested else normalize
    x = keras.layers.Conv2D(8, 3, activation="relu")(first(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    assert np.array_equal(outputs(attach_attention(model), images), outputs(model, images))


def test_operations_of_keras_ops_can_be_points(rng):
    inputs = keras.Input((16, 16, 3))
    x = keras.ops.relu(keras.layers.Conv2D(8, 3)(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    assert len(attention_points(model)) == 1
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    assert np.array_equal(outputs(attach_attention(model), images), outputs(model, images))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (None, ["a_bn2", "b_bn2"]),
        (["b_bn2"], ["b_bn2"]),
        (lambda p: p.block == 1, ["a_bn2"]),
        ("last_stage", ["a_bn2", "b_bn2"]),
    ],
)
def test_points_can_be_chosen(small, points, expected):
    attached = attach_attention(small, points=points)
    found = [layer.name for layer in attached.layers if isinstance(layer, CBAM)]
    assert found == [f"{name}_cbam" for name in expected]


def test_paper_start_is_not_the_identity(small, rng):
    images = rng.uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    attached = attach_attention(small, "channel", identity_init=False)
    assert not np.allclose(outputs(attached, images), outputs(small, images))
    assert isinstance(attached.get_layer("a_bn2_channel"), ChannelAttention)


def test_bam_goes_to_stage_ends_after_the_addition(small, rng):
    """One stage alone has an end; of several, the last is followed by no other."""
    assert [p.layer for p in attention_points(small, "stage_ends")] == ["b_add"]
    resnet = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(64, 64, 3))
    attached = attach_attention(resnet, "bam")
    found = [layer.name for layer in attached.layers if isinstance(layer, BAM)]
    ends = ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out")
    assert found == [f"{name}_bam" for name in ends]
    assert all(
        layer.input is attached.get_layer(name).output
        for layer, name in zip(map(attached.get_layer, found), ends, strict=True)
    )
    images = rng.uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    everywhere = attach_attention(small, "bam", points=lambda point: True)
    assert [p.name for p in everywhere.layers if isinstance(p, BAM)] == ["a_bn2_bam", "b_bn2_bam"]
    expected = outputs(small, images)
    assert np.array_equal(outputs(attach_attention(small, "bam"), images), expected)


@pytest.mark.parametrize("attention", ["se", "bam", "channel", "spatial"])
def test_every_attention_starts_as_the_identity(small, attention, rng):
    images = rng.uniform(0, 255, (4, 16, 16, 3)).astype("float32")
    attached = attach_attention(small, attention)
    names = [layer.name for layer in attached.layers if layer.name.endswith(f"_{attention}")]
    assert names
    assert np.array_equal(outputs(attached, images), outputs(small, images))
    paper = attach_attention(small, attention, identity_init=False)
    assert not np.allclose(outputs(paper, images), outputs(small, images))


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "bfloat16"])
def test_attention_takes_data_format_and_precision_of_its_place(data_format, dtype):
    shape = (3, 16, 16) if data_format == "channels_first" else (16, 16, 3)
    inputs = keras.Input(shape)
    x = keras.layers.Conv2D(24, 3, data_format=data_format, dtype=dtype, name="conv")(inputs)
    x = keras.ops.relu(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(data_format=data_format)(x))
    attached = attach_attention(model)
    layer = next(layer for layer in attached.layers if isinstance(layer, CBAM))
    assert layer.data_format == data_format
    assert layer.dtype_policy.name == dtype
    assert attached.count_params() - model.count_params() == 25 + 48 + 98 + 4


class Swish(keras.layers.Layer):
    """An activation of the user's own."""

    def call(self, x):
        return x * keras.ops.sigmoid(x)


def test_attention_follows_an_activation_of_the_users_own():
    x = inputs = keras.Input((16, 16, 3))
    for index in range(2):
        x = keras.layers.Conv2D(8, 3, name=f"conv{index}")(x)
        x = Swish(name=f"swish{index}")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model)] == ["swish1"]


def test_factory_receives_the_point(small):
    seen = []

    def factory(point):
        seen.append(point)
        return CBAM(4, name=f"mine_{point.block}")

    attached = attach_attention(small, factory)
    assert tuple(seen) == attention_points(small)
    assert attached.get_layer("mine_2").reduction_ratio == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"attention": "cbma"}, ValueError, "`attention` must be one of .*cbam.*Received: .*cbma"),
        ({"points": ["stem"]}, ValueError, "`points` must be .*a_bn2.*Received: .*stem"),
        ({"points": lambda p: False}, ValueError, "`points` chooses none"),
        (
            {"attention": lambda p: CBAM(), "identity_init": True},
            TypeError,
            "a factory decides for itself",
        ),
        ({"attention": CBAM}, TypeError, "such as `lambda point: CBAM"),
        ({"attention": CBAM()}, TypeError, "such as `lambda point: CBAM"),
        ({"attention": 3}, TypeError, "`attention` must be a name or a factory"),
        (
            {"attention": lambda p: keras.layers.Conv2D(3, 1)},
            ValueError,
            r"keep the shape .* makes \(None, 8, 8, 3\) of \(None, 8, 8, 24\)",
        ),
    ],
)
def test_bad_arguments(small, arguments, error, message):
    with pytest.raises(error, match=message):
        attach_attention(small, **arguments)


def test_subclassed_model_is_refused():
    class Mine(keras.Model):
        pass

    with pytest.raises(TypeError, match="Expected a functional or a built Sequential"):
        attach_attention(Mine())


def test_model_without_a_place_is_refused():
    inputs = keras.Input((8,))
    with pytest.raises(ValueError, match="no attention point"):
        attach_attention(keras.Model(inputs, keras.layers.Dense(2)(inputs)))


@pytest.mark.parametrize(("rank", "conv"), [(1, keras.layers.Conv1D), (3, keras.layers.Conv3D)])
def test_maps_of_other_ranks_are_refused_by_rank(rank, conv):
    inputs = keras.Input((8,) * rank + (3,))
    model = keras.Model(inputs, conv(4, 3, name="stem")(inputs))
    expected = rf"of rank 4, .*Received: Conv{rank}D stem, whose map is of rank {rank + 2}"
    with pytest.raises(ValueError, match=expected):
        attach_attention(model)
