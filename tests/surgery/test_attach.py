"""attach_attention and attention_points: the right places, nothing lost."""

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, ChannelAttention, attach_attention, attention_points, freeze_backbone
from keras_cbam.surgery.gates import gate_movement
from tests.conftest import vary


def outputs(model, images):
    return keras.ops.convert_to_numpy(model(images))


def test_exact_parameter_count_of_the_paper():
    model = keras.applications.ResNet50(weights=None)
    attached = attach_attention(model, identity_init=False)
    added = sum(int(np.prod(v.shape)) for v in attached.trainable_variables) - sum(
        int(np.prod(v.shape)) for v in model.trainable_variables
    )
    assert added == 28_089_624 - 25_557_032


@pytest.fixture(scope="module")
def small():
    """A residual block with a projection, one with an identity, and dropout on the branch."""
    x = inputs = keras.Input((16, 16, 3), name="pixels")
    x = keras.layers.Conv2D(16, 3, padding="same", name="stem")(x)
    for block, strides in (("a", 2), ("b", 1)):
        shortcut = x
        y = keras.layers.Conv2D(24, 3, strides, padding="same", name=f"{block}_conv1")(x)
        y = keras.layers.BatchNormalization(name=f"{block}_bn1")(y)
        y = keras.layers.ReLU(name=f"{block}_relu1")(y)
        y = keras.layers.Conv2D(24, 3, padding="same", name=f"{block}_conv2")(y)
        y = keras.layers.BatchNormalization(name=f"{block}_bn2")(y)
        y = keras.layers.Dropout(0.1, name=f"{block}_drop")(y)
        if strides == 2:
            shortcut = keras.layers.Conv2D(24, 1, strides, name=f"{block}_proj")(shortcut)
        x = keras.layers.Add(name=f"{block}_add")([shortcut, y] if strides == 2 else [y, shortcut])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return vary(keras.Model(inputs, keras.layers.Dense(5, name="scores")(x), name="small"))


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


def test_freeze_backbone_leaves_attention_and_head(small):
    attached = attach_attention(small)
    freeze_backbone(attached, head=["scores"])
    trained = {v.path.split("/")[0] for v in attached.trainable_variables}
    assert trained == {"a_bn2_cbam", "b_bn2_cbam", "scores"}
    with pytest.raises(ValueError, match="`head` must name layers"):
        freeze_backbone(attached, head=["score"])


@pytest.mark.backends
def test_gate_movement_starts_at_zero_and_tells_what_moved(small, rng):
    images = rng.uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    attached = attach_attention(small)
    assert all(m.mean == m.largest == (0.0, 0.0) for m in gate_movement(attached, images))
    attached.get_layer("b_bn2_cbam").spatial_attention.batch_norm.beta.assign([1.0])
    still, moved = gate_movement(attached, images)
    assert still.largest == (0.0, 0.0)
    # The convolution is cut off by gamma 0, so each spatial gate is 2 * sigmoid(1).
    assert moved.mean == (0.0, pytest.approx(2 / (1 + np.exp(-1)) - 1, abs=1e-6))
