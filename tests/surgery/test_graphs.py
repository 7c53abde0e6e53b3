"""Networks written by hand: attention where it belongs, nothing lost, or a reasoned refusal."""

import itertools

import keras
import pytest
from keras import layers

from keras_cbam import CBAM, attach_attention, attention_points, detach_attention
from keras_cbam.surgery.graph import has_graph, read_graph
from tests.backend import BACKEND, quick, quick_on
from tests.drawn import example, vary
from tests.surgery.graphs import GRAPHS, conv
from tests.surgery.proof import assert_agree, assert_nothing_lost, assert_same_state, call, state

pytestmark = pytest.mark.backends


# JAX compiles each operation by itself.
QUICK = {"mixed_precision"} if BACKEND == "jax" else GRAPHS


@pytest.mark.parametrize("name", quick(GRAPHS, QUICK))
def test_nothing_is_lost(name, rng, tmp_path):
    graph = GRAPHS[name]
    model = vary(graph.build())
    assert [point.layer for point in attention_points(model)] == graph.points
    attached = assert_nothing_lost(
        model, example(model, rng), tmp_path, safe_mode=name != "with_lambda"
    )
    assert [point.layer for point in attention_points(attached)] == graph.points


@quick_on("tensorflow", "torch")
def test_nested_model_at_both_ends(rng, tmp_path):
    """Keras counts the calls of a nested model differently among the outputs."""
    inputs = keras.Input((32, 32, 3))
    backbone = keras.Model(inputs, conv(8, "conv")(inputs), name="backbone")
    features = keras.Input((None, None, 8))
    pooled = [layers.GlobalAveragePooling2D()(features), layers.GlobalMaxPooling2D()(features)]
    heads = keras.Model(features, [layers.Dense(2)(x) for x in pooled], name="heads")
    inputs = keras.Input((32, 32, 3))
    left, right = backbone(inputs), backbone(keras.ops.flip(inputs, axis=1))
    model = vary(keras.Model(inputs, [*heads(left), *heads(right), left]))
    assert [point.layer for point in attention_points(model)] == ["backbone/conv_act"]
    assert_nothing_lost(model, example(model, rng), tmp_path)


@quick_on("tensorflow", "torch")
def test_shared_attention_is_one_layer():
    attached = attach_attention(GRAPHS["siamese"].build())
    encoders = [layer for layer in attached.layers if layer.name == "encoder"]
    assert len(encoders) == 1
    attached = attach_attention(GRAPHS["shared_layers"].build())
    assert [x.name for x in attached.layers].count("shared_conv2_cbam") == 1


@quick_on("jax", "torch")
def test_training_the_copy_leaves_the_original(rng):
    """Backends that give buffers away in training must not give away the caller's."""
    model = vary(GRAPHS["two_inputs"].build())
    model.compile("adam", "mse")
    inputs = example(model, rng)
    targets = rng.normal(size=(4, 3)).astype("float32")
    model.train_on_batch(inputs, targets)
    before, expected = state(model), call(model, inputs)
    optimizer = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    attached = attach_attention(model)
    attached.compile(keras.optimizers.SGD(0.1), "mse")
    attached.train_on_batch(inputs, targets)
    assert abs(call(attached, inputs)[0] - expected[0]).max() > 1e-3
    assert_same_state(state(model), before)
    assert_agree(call(model, inputs), expected)
    assert_agree([keras.ops.convert_to_numpy(v) for v in model.optimizer.variables], optimizer)
    assert model.loss == "mse"
    model.train_on_batch(inputs, targets)


@quick_on("tensorflow", "torch")
def test_detached_keeps_what_the_copy_learned(rng):
    model = vary(GRAPHS["nested_twice"].build())
    inputs = example(model, rng)
    attached = attach_attention(model)
    attached.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    attached.train_on_batch(inputs, rng.normal(size=(4, 3)).astype("float32"))
    learned = attached.get_layer("features").get_layer("backbone").get_layer("block1_1_conv")
    detached = detach_attention(attached)
    found = detached.get_layer("features").get_layer("backbone").get_layer("block1_1_conv")
    assert (found.get_weights()[0] == learned.get_weights()[0]).all()
    original = model.get_layer("features").get_layer("backbone").get_layer("block1_1_conv")
    assert (found.get_weights()[0] != original.get_weights()[0]).any()


class Unconfigured(layers.Layer):
    """A layer whose arguments no configuration keeps."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x


class Growing(layers.Layer):
    """A layer whose weights its configuration does not tell."""

    units = 3

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))

    def call(self, x):
        return x @ self.kernel


class Scaled(keras.Model):
    """A functional model with a `call` of its own."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(8, 3)

    def call(self, x):
        return self.conv(x)


def wrap(layer, cls=keras.Model):
    """A small network with `layer` in it."""
    inputs = keras.Input((16, 16, 3))
    x = layer(layers.Conv2D(8, 3, name="conv")(inputs))
    x = layers.Dense(2)(layers.GlobalAveragePooling2D()(x))
    return cls(inputs, x, name="wrapped")


def lambda_over_a_layer():
    inner = layers.Dense(4, name="inner")
    return wrap(layers.Lambda(lambda x: inner(x), name="hidden"))


def lambda_that_is_a_layer():
    return wrap(layers.Lambda(layers.Dense(4, name="inner"), name="hidden"))


def lambda_with_a_layer_by_default():
    inner = layers.Dense(4, name="inner")
    return wrap(layers.Lambda(lambda x, apply=inner: apply(x), name="hidden"))


def lambda_with_two_functions():
    """The second function uses the layer, and both are closures."""
    inner, factor = layers.Dense(4, name="inner"), 2.0

    def scale(x):
        return x * factor

    def apply(x):
        return inner(x)

    return wrap(layers.Lambda(lambda x: apply(scale(x)), name="hidden"))


def use_module_layer(x):
    return MODULE_LAYER(x)


MODULE_LAYER = layers.Dense(4, name="inner")


def lambda_with_a_function_of_the_module():
    return wrap(layers.Lambda(lambda x: use_module_layer(x), name="hidden"))


def shared_through_a_wrapper():
    dense = layers.Dense(8, name="inner")
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = dense(layers.GlobalAveragePooling2D()(layers.TimeDistributed(dense)(x)))
    return keras.Model(inputs, x)


REFUSED = {
    "subclassed": (Subclassed, "class Subclassed computes in its own `call`, which has no graph"),
    "own call": (
        lambda: wrap(layers.ReLU(), Scaled),
        "class Scaled has its own `call`, which its graph does not show",
    ),
    "unbuilt": (
        lambda: keras.Sequential([layers.Conv2D(8, 3)]),
        "has not been built: give it an Input first",
    ),
    "no model": (lambda: layers.Conv2D(8, 3), "this is a Conv2D"),
    "lambda over a layer": (
        lambda_over_a_layer,
        "Layer hidden of class Lambda cannot be copied: its function uses inner, a Dense",
    ),
    "lambda that is a layer": (lambda_that_is_a_layer, "its function uses inner, a Dense"),
    "lambda with a layer by default": (
        lambda_with_a_layer_by_default,
        "its function uses inner, a Dense",
    ),
    "lambda with two functions": (lambda_with_two_functions, "its function uses inner, a Dense"),
    "lambda with a function of the module": (
        lambda_with_a_function_of_the_module,
        "its function uses inner, a Dense",
    ),
    "shared through a wrapper": (shared_through_a_wrapper, "it shares .*inner/kernel with another"),
    "subclassed inside": (
        lambda: wrap(Subclassed()),
        "Layer subclassed.* of class Subclassed cannot be copied",
    ),
}


@pytest.mark.parametrize("surgery", [attach_attention, detach_attention])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name, surgery):
    build, reason = REFUSED[name]
    with pytest.raises(TypeError, match=reason):
        surgery(build())


def test_layer_without_configuration_is_refused():
    model = wrap(Unconfigured(object(), name="factor"))
    with pytest.raises(TypeError, match=r"wrapped has a layer .* Object Unconfigured"):
        attach_attention(model)


def test_layer_whose_configuration_builds_another_is_refused(monkeypatch):
    model = wrap(Growing(name="growing"))
    monkeypatch.setattr(Growing, "units", 5)
    with pytest.raises(TypeError, match=r"growing.*it has weights \[\(8, 5\)\]"):
        attach_attention(model)


def shared_across_levels():
    """A backbone inside two models, and a layer inside a model and outside."""
    inputs = keras.Input((32, 32, 3))
    backbone = keras.Model(inputs, conv(8, "conv")(inputs), name="backbone")
    scores = layers.Dense(3, name="shared_scores")

    def branch(name):
        inputs = keras.Input((32, 32, 3))
        x = layers.GlobalAveragePooling2D()(backbone(inputs))
        return keras.Model(inputs, scores(x), name=name)

    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalMaxPooling2D()(backbone(inputs))
    return keras.Model(inputs, [branch("left")(inputs), branch("right")(inputs), scores(x)])


def test_what_is_shared_across_levels_stays_shared(rng):
    model = vary(shared_across_levels())
    assert len(attention_points(model)) == 1
    attached = attach_attention(model)
    added = [layer for layer in attached._flatten_layers() if layer.name == "conv_act_cbam"]
    assert len({id(layer) for layer in added}) == 1
    assert attached.count_params() - added[0].count_params() == model.count_params()
    inputs = example(model, rng)
    assert_agree(call(attached, inputs), call(model, inputs))
    detached = detach_attention(attached)
    assert detached.count_params() == model.count_params()
    assert_agree(call(detached, inputs), call(model, inputs))


class Composite(layers.Layer):
    """A layer of layers, one of them frozen."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = layers.Normalization()
        self.inner = [layers.Conv2D(8, 3), layers.BatchNormalization()]
        self.inner[1].trainable = False

    def call(self, x):
        x = self.scale(x)
        for layer in self.inner:
            x = layer(x)
        return x


def test_layers_inside_layers_keep_their_state(rng):
    composite = Composite()
    composite.scale.adapt(rng.uniform(0, 255, (8, 16, 16, 3)))
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3)(composite(inputs)))
    model = vary(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    composite.inner[0].trainable = False
    images = example(model, rng)
    detached = detach_attention(attach_attention(model))
    assert_agree(call(detached, images), call(model, images))
    assert len(detached.trainable_variables) == len(model.trainable_variables) == 2


@quick_on("tensorflow", "torch")
def test_many_additions_between_convolutions():
    """A transformer between a patch embedding and a decoder: each path is walked once."""
    inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((64, 8))(layers.Conv2D(8, 4, 4, activation="relu", name="patches")(inputs))
    for _ in range(40):
        x = layers.Add()([x, layers.Dense(8)(layers.LayerNormalization()(x))])
    x = layers.Conv2D(8, 3, activation="relu", name="decoder")(layers.Reshape((8, 8, 8))(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model)] == ["decoder"]


@pytest.mark.parametrize("swapped", [False, True])
def test_branch_of_one_convolution_beside_a_projection(swapped):
    x = inputs = keras.Input((16, 16, 3))
    for block in range(2):
        sides = [
            layers.Conv2D(8, 3, 2, padding="same", name=f"block{block}_conv")(x),
            layers.Conv2D(8, 1, 2, padding="same", name=f"block{block}_projection")(x),
        ]
        x = layers.ReLU()(layers.Add()(sides[::-1] if swapped else sides))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model)] == ["block0_conv", "block1_conv"]


def test_blocks_that_share_their_addition_end_before_it():
    inputs = keras.Input((32, 32, 3))
    x = conv(8, "stem", strides=2)(inputs)
    add = layers.Add(name="add")
    for block in range(2):
        x = layers.MaxPooling2D()(x)
        y = conv(8, f"block{block}", activation=None)(x)
        x = add([x, y])
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model, "stage_ends")] == ["block0_bn"]


def test_grouped_convolution_of_one_place_is_depthwise():
    inputs = keras.Input((16, 16, 8))
    x = layers.Conv2D(8, 1, groups=8, name="scale")(inputs)
    x = layers.Conv2D(16, 1, name="mix")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model)] == ["scale", "mix"]


@quick_on("tensorflow", "torch")
def test_two_convolutions_side_by_side_are_no_residual_block():
    x = inputs = keras.Input((16, 16, 3))
    for block in range(2):
        sides = [
            layers.Conv2D(8, size, padding="same", name=f"block{block}_{size}")(x)
            for size in (3, 5)
        ]
        x = layers.ReLU()(layers.Add()(sides))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert {point.layer for point in attention_points(model)} == {"block1_3", "block1_5"}


class Tagging(layers.Layer):
    """A layer that holds a lookup."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lookup = layers.StringLookup(output_mode="multi_hot")

    def call(self, x):
        return self.lookup(x)

    def compute_output_shape(self, shape):
        return (shape[0], self.lookup.vocabulary_size())


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has tensors of text")
@pytest.mark.parametrize("inside", [False, True])
def test_learned_vocabulary_is_kept(inside, rng):
    import tensorflow as tf

    image = keras.Input((16, 16, 3))
    tag = keras.Input((1,), dtype="string")
    lookup = Tagging() if inside else layers.StringLookup(output_mode="multi_hot")
    (lookup.lookup if inside else lookup).adapt(["cat", "dog", "fish"])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(image))
    model = keras.Model([image, tag], layers.Dense(4)(layers.Concatenate()([x, lookup(tag)])))
    inputs = [tf.constant(rng.uniform(0, 1, (2, 16, 16, 3))), tf.constant([["cat"], ["fish"]])]
    assert_agree(call(attach_attention(model), inputs), call(model, inputs))


@pytest.mark.parametrize(
    "activation", [keras.ops.leaky_relu, keras.ops.hard_swish, lambda x: x * keras.ops.sigmoid(x)]
)
def test_any_activation_in_a_bottleneck(activation):
    x = inputs = keras.Input((16, 16, 16))
    for block in range(2):
        y = x
        for index, filters in enumerate((8, 8, 16)):
            y = layers.Conv2D(filters, 3 if index == 1 else 1, padding="same")(y)
            y = layers.BatchNormalization(name=f"block{block}_bn{index}")(y)
            y = activation(y) if index < 2 else y
        x = activation(layers.Add()([x, y]))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model)] == ["block0_bn2", "block1_bn2"]


class Halving(layers.Layer):
    """A block in one layer, whose step its configuration does not tell."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.convolutions = [layers.Conv2D(filters, 3, s, padding="same") for s in (2, 1)]

    def call(self, x):
        for convolution in self.convolutions:
            x = keras.ops.relu(convolution(x))
        return x


def test_steps_are_told_by_sizes_where_no_configuration_tells():
    x = inputs = keras.Input((32, 32, 3))
    for index in range(3):
        x = Halving(8, name=f"block{index}")(x)
    points = attention_points(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    assert [(p.layer, p.stage) for p in points] == [("block0", 1), ("block1", 2), ("block2", 3)]

    x = inputs = keras.Input((32, 32, 3))
    for index, halve in enumerate((lambda x: keras.ops.max_pool(x, 2), lambda x: x[:, ::2, ::2])):
        x = halve(layers.Conv2D(8, 3, activation="relu", name=f"conv{index}")(x))
    points = attention_points(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    assert [(p.layer, p.stage) for p in points] == [("conv0", 1), ("conv1", 2)]


class GlobalScale(layers.Layer):
    """A normalization of the user's own, with the name of a pooling."""

    def call(self, x):
        return x / (1 + keras.ops.mean(x, axis=(1, 2), keepdims=True))


def test_a_name_alone_makes_no_pooling():
    x = inputs = keras.Input((16, 16, 3))
    x = GlobalScale(name="scale")(layers.Conv2D(8, 3, activation="relu")(x))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [point.layer for point in attention_points(model)] == ["scale"]


@quick_on("tensorflow", "torch")
def test_low_rank_adaptation_changes_no_point():
    model = GRAPHS["sequential"].build()
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            layer.enable_lora(2)
    assert [point.layer for point in attention_points(model)] == GRAPHS["sequential"].points


def test_layer_called_by_keyword(rng):
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(8, 3)(inputs))
    x = CBAM(name="mine")(inputs=x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert len(detach_attention(model).layers) == len(model.layers) - 1


def test_attention_twice_is_refused():
    attached = attach_attention(GRAPHS["sequential"].build())
    with pytest.raises(ValueError, match="attention after two already: two_cbam"):
        attach_attention(attached)
    with pytest.raises(ValueError, match="attention after two already: two_cbam"):
        attach_attention(attached, "se")


def test_layers_that_are_called_in_turn_are_read_in_turn(monkeypatch):
    """The configuration lists calls layer by layer, so every second call has to wait."""
    seen = []

    def counted(operation):
        seen.append(operation)
        return has_graph(operation)

    monkeypatch.setattr("keras_cbam.surgery.graph.has_graph", counted)
    inputs = x = keras.Input((8, 8, 4))
    pair = [layers.Conv2D(4, 1, name=name) for name in ("one", "two")]
    for index in range(100):
        x = pair[index % 2](x)
    graph = read_graph(keras.Model(inputs, x))
    assert [node.address for node in graph[1:]] == ["one", "two"] * 50
    for before, node in itertools.pairwise(graph):
        assert node.inputs == [before]
    # Each call is looked at once, and the model itself.
    assert len(seen) == len(graph) + 1


def test_the_order_is_that_of_rounds():
    """Stage ends go by it."""
    inputs = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 1, name="shared")
    between = layers.Conv2D(4, 1, name="between")
    x = between(shared(inputs))
    ends = [layers.Conv2D(4, 1, name="first")(shared(x)), layers.Conv2D(4, 1, name="second")(x)]
    addresses = [node.address for node in read_graph(keras.Model(inputs, ends))]
    assert addresses[1:] == ["shared", "between", "second", "shared", "first"]
