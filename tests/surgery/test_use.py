"""The meter of use, against gates that are forced, and against NumPy."""

import keras
import numpy as np
import pytest

from keras_cbam import BAM, CBAM, ChannelAttention, SqueezeExcite
from keras_cbam.surgery import attention_use
from keras_cbam.surgery.use_answers import NotFiniteError
from tests.layers import reference

pytestmark = pytest.mark.backends
IMAGES = 21


def classifier(*attention, shape=(6, 6, 4), classes=3, scores="softmax", body=None):
    inputs = keras.Input(shape)
    x = inputs if body is None else body(inputs)
    for layer in attention:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D(data_format=attention[-1].data_format)(x)
    return keras.Model(inputs, keras.layers.Dense(classes, scores, name="scores")(x))


def weights_by_name(layer):
    """Weights as the reference names them."""
    paths = [w.path.split("/")[1:] for w in layer.weights]
    values = [keras.ops.convert_to_numpy(w).astype("float64") for w in layer.weights]
    return {"/".join(path): value for path, value in zip(paths, values, strict=True)}


def randomize(layer, rng):
    for weight in layer.weights:
        low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-1, 1)
        weight.assign(rng.uniform(low, high, weight.shape))


def softmax(z):
    powers = np.exp(z - z.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def compared(before, after, labels):
    """Agreement, divergence and accuracy, from their definitions."""
    return (
        (before.argmax(1) == after.argmax(1)).mean(),
        (before * np.log(before / after)).sum(1).mean(),
        (after.argmax(1) == labels).mean(),
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_cbam_as_numpy_has_it(data_format, rng):
    layer = CBAM(reduction_ratio=2, kernel_size=3, data_format=data_format)
    first = data_format == "channels_first"
    model = classifier(layer, shape=(4, 6, 7) if first else (6, 7, 4))
    randomize(layer, rng)
    dense = model.get_layer("scores")
    dense.kernel.assign(rng.normal(0, 8, dense.kernel.shape))
    x = rng.normal(0, 2, (IMAGES, 6, 7, 4))
    labels = rng.integers(0, 3, IMAGES)
    kernel, bias = (w.astype("float64") for w in dense.get_weights())

    def answers(refined):
        return softmax(refined.mean((1, 2)) @ kernel + bias)

    w = weights_by_name(layer)
    spatial = {k.removeprefix("spatial_attention/"): v for k, v in w.items() if "spatial" in k}
    refined, (mc, ms) = reference.cbam(x, w)
    constant = mc.mean((0, 1, 2))
    # What follows a replaced gate is computed anew from what it is given.
    channel_replaced, _ = reference.spatial_attention(x * constant, spatial)
    expected = {
        "channel": (mc, answers(channel_replaced)),
        "spatial": (ms, answers(x * mc * ms.mean())),
    }
    pixels = (x.transpose(0, 3, 1, 2) if first else x).astype("float32")
    # Batches of 8 leave one of 5.
    use = attention_use(model, pixels, labels, batch_size=8)
    assert [gate.kind for gate in use.gates] == ["channel", "spatial"]
    plain = answers(refined)
    assert use.images == use.images_per_gate == IMAGES
    assert use.accuracy == pytest.approx((plain.argmax(1) == labels).mean())
    for gate in use.gates:
        values, replaced = expected[gate.kind]
        assert values.std(0).mean() > 1e-2
        assert gate.over_images == pytest.approx(values.std(0).mean(), rel=1e-4)
        assert gate.over_places == pytest.approx(values.std((1, 2)).mean(), rel=1e-4)
        np.testing.assert_allclose(gate.constants, values.mean((0, 1, 2)), rtol=1e-5)
        found = gate.replaced
        agreement, divergence, accuracy = compared(plain, replaced, labels)
        assert divergence > 1e-2
        assert found.agreement == pytest.approx(agreement)
        assert found.kl_divergence == pytest.approx(divergence, rel=1e-3)
        assert found.accuracy == pytest.approx(accuracy)
    agreement, divergence, accuracy = compared(plain, answers(x * constant * ms.mean()), labels)
    assert agreement < 1
    assert use.used
    assert use.replaced.agreement == pytest.approx(agreement)
    assert use.replaced.kl_divergence == pytest.approx(divergence, rel=1e-3)
    assert use.replaced.accuracy == pytest.approx(accuracy)
    assert f" from {use.accuracy:.1%} to {accuracy:.1%}, and " in use.sentence()


def test_constant_gates_are_of_no_use(rng):
    channel, both = ChannelAttention(reduction_ratio=2), BAM(reduction_ratio=2)
    cbam = CBAM(reduction_ratio=2, kernel_size=3)
    model = classifier(channel, both, cbam)
    for layer in (channel, both, cbam):
        randomize(layer, rng)
    # The last kernel of each gate is 0, so that its bias alone decides.
    for kernel in (
        channel.excite.kernel,
        both.excite.kernel,
        both.excite.bias,
        cbam.channel_attention.excite.kernel,
        cbam.spatial_attention.batch_norm.gamma,
    ):
        kernel.assign(keras.ops.zeros(kernel.shape))
    before = model.get_weights()
    use = attention_use(model, rng.normal(0, 2, (IMAGES, 6, 6, 4)).astype("float32"), batch_size=8)
    assert [gate.kind for gate in use.gates] == ["channel", "both", "channel", "spatial"]
    for gate in use.gates:
        assert gate.over_images == pytest.approx(0, abs=2e-7)
        assert gate.over_places == pytest.approx(0, abs=2e-7)
        assert gate.replaced.agreement == 1
        assert gate.replaced.kl_divergence == pytest.approx(0, abs=1e-12)
        assert gate.replaced.accuracy is None
    assert not use.used
    assert use.sentence() == (
        "attention is not used: without it 100.0% of the answers stay the same; 0 of 4 gates matter"
    )
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_model_is_left_as_it_was(rng):
    layer = SqueezeExcite(reduction_ratio=2)
    model = classifier(layer)
    randomize(layer, rng)
    x = rng.normal(0, 2, (4, 6, 6, 4)).astype("float32")
    before = keras.ops.convert_to_numpy(model(x))
    attention_use(model, x)
    assert layer._replace_gates is None
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x)), before)

    def refuse(outputs):
        raise ValueError("these are not answers")

    with pytest.raises(ValueError, match="these are not answers"):
        attention_use(model, x, answers=refuse)
    assert layer._replace_gates is None


class Stream(keras.utils.PyDataset):
    """Batches of 8 with labels."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 8)

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return self.x[part], self.y[part]


def test_a_stream_says_what_its_arrays_say_and_a_sample_is_spread_evenly(rng):
    layer = SqueezeExcite(reduction_ratio=2)
    model = classifier(layer, scores=None)
    randomize(layer, rng)
    x = rng.normal(0, 2, (IMAGES, 6, 6, 4)).astype("float32")
    labels = rng.integers(0, 3, IMAGES)
    whole = attention_use(model, x, labels, batch_size=8)
    stream = attention_use(model, Stream(x, labels), batch_size=8)
    assert stream == whole
    assert whole.accuracy is not None
    some = attention_use(model, Stream(x, labels), images_per_gate=3, batch_size=8)
    assert (some.images, some.images_per_gate) == (IMAGES, 3)
    assert some.replaced == whole.replaced
    chosen = [0, 10, 20]
    constants = whole.gates[0].constants
    alone = attention_use(model, x[chosen], labels[chosen], batch_size=8)
    assert not np.allclose(alone.gates[0].constants, constants)

    def logits(x, gates):
        return (x.mean((1, 2)) * gates) @ model.layers[-1].get_weights()[0]

    _, (gates,) = reference.squeeze_excite(x.astype("float64"), weights_by_name(layer))
    before = softmax(logits(x[chosen], gates[chosen, 0, 0]))
    agreement, divergence, accuracy = compared(
        before, softmax(logits(x[chosen], constants)), labels[chosen]
    )
    found = some.gates[0].replaced
    assert found.agreement == pytest.approx(agreement)
    assert found.kl_divergence == pytest.approx(divergence, rel=1e-3)
    assert found.accuracy == pytest.approx(accuracy)


def test_few_images_are_read_once_for_all_gates(rng):
    model = classifier(CBAM(reduction_ratio=2))
    x = rng.normal(0, 2, (IMAGES, 6, 6, 4)).astype("float32")

    class Counted(Stream):
        read = 0

        def __getitem__(self, index):
            self.read += 1
            return super().__getitem__(index)

    stream = Counted(x, np.zeros(IMAGES, int))
    # As the model is, without all of its attention, and to choose the images.
    attention_use(model, stream, images_per_gate=IMAGES)
    assert stream.read == 3 * len(stream)


class Held(keras.Model):
    """Holds a layer twice, and uses it so many times."""

    def __init__(self, times):
        super().__init__()
        self.gate = SqueezeExcite(reduction_ratio=2)
        self.block = keras.Sequential([self.gate])
        self.scores = keras.layers.Dense(3)
        self.times = times

    def build(self, input_shape):
        self.block.build(input_shape)
        self.scores.build((None, 4))

    def call(self, x):
        for _ in range(self.times):
            x = self.block(x)
        return self.scores(keras.ops.mean(x, (1, 2)))


def test_a_layer_held_twice_is_one_and_one_not_used_is_named(rng):
    x = rng.normal(0, 2, (4, 6, 6, 4)).astype("float32")
    for times, message in ((0, "holds but does not use"), (2, "uses several times")):
        model = Held(times)
        model(x)
        with pytest.raises(ValueError, match=message):
            attention_use(model, x)
    model = Held(1)
    model(x)
    assert len(attention_use(model, x).gates) == 1


def test_nested_models_and_answers_that_count(rng):
    inner_inputs = keras.Input((6, 6, 4))
    inner = keras.Model(
        inner_inputs, SqueezeExcite(reduction_ratio=2, name="gate")(inner_inputs), name="inner"
    )
    randomize(inner.get_layer("gate"), rng)
    inputs = keras.Input((6, 6, 4))
    features = inner(inputs)
    places = keras.layers.Conv2D(2, 1, activation="softmax")(features)
    model = keras.Model(inputs, {"places": places, "features": features})
    x = rng.normal(0, 2, (5, 6, 6, 4)).astype("float32")
    with pytest.raises(ValueError, match=r"Received: shapes \["):
        attention_use(model, x)

    def use(judged):
        return attention_use(
            model, x, answers=lambda outputs: outputs["places"], judged=judged
        ).replaced

    every = use(None)
    halves = [use(lambda p, side=side: p.argmax(-1) == side) for side in (0, 1)]
    shares = [
        (keras.ops.convert_to_numpy(model(x)["places"]).argmax(-1) == side).mean()
        for side in (0, 1)
    ]
    mean = sum(s * half.kl_divergence for s, half in zip(shares, halves, strict=True))
    assert every.kl_divergence == pytest.approx(mean, rel=1e-5)
    assert halves[0].kl_divergence != pytest.approx(halves[1].kl_divergence, rel=1e-2)
    used = attention_use(model, x, answers=lambda outputs: outputs["places"])
    assert [gate.layer for gate in used.gates] == ["inner/gate"]


def test_one_column_is_of_two_classes(rng):
    layer = SqueezeExcite(reduction_ratio=2)
    logits = classifier(layer, classes=1, scores=None)
    randomize(layer, rng)
    logits.layers[-1].kernel.assign(rng.normal(0, 4, (4, 1)))
    probabilities = keras.Model(
        logits.input, keras.layers.Activation("sigmoid")(logits.output), name="probabilities"
    )
    two = keras.Model(
        logits.input,
        keras.ops.concatenate([keras.ops.zeros_like(logits.output), logits.output], -1),
    )
    x = rng.normal(0, 2, (IMAGES, 6, 6, 4)).astype("float32")
    labels = rng.integers(0, 2, (IMAGES, 1))
    uses = [attention_use(model, x, labels) for model in (two, logits, probabilities)]
    assert uses[0].replaced.kl_divergence > 1e-4
    for use in uses[1:]:
        assert use.accuracy == uses[0].accuracy
        assert use.replaced.agreement == uses[0].replaced.agreement
        assert use.replaced.kl_divergence == pytest.approx(uses[0].replaced.kl_divergence, rel=1e-3)


def test_both_of_bam_as_its_own_gates_say(rng):
    layer = BAM(reduction_ratio=2, dilation=1)
    model = classifier(layer)
    randomize(layer, rng)
    x = rng.normal(0, 2, (IMAGES, 6, 6, 4))
    refined, (gates,) = reference.bam(x, weights_by_name(layer), dilation=1)
    kernel, bias = (w.astype("float64") for w in model.layers[-1].get_weights())
    constants = gates.mean((0, 1, 2))
    before, after = (softmax(y.mean((1, 2)) @ kernel + bias) for y in (refined, x * constants))
    (gate,) = attention_use(model, x.astype("float32"), batch_size=8).gates
    assert gate.kind == "both"
    assert gate.over_places == pytest.approx(gates.std((1, 2)).mean(), rel=1e-4)
    assert gate.over_images == pytest.approx(gates.std(0).mean(), rel=1e-4)
    np.testing.assert_allclose(gate.constants, constants, rtol=1e-5)
    assert gate.over_places > 1e-2
    agreement, divergence, _ = compared(before, after, np.zeros(IMAGES))
    assert gate.replaced.agreement == pytest.approx(agreement)
    assert gate.replaced.kl_divergence == pytest.approx(divergence, rel=1e-3)


class Block(keras.layers.Layer):
    """A layer of one's own that holds attention."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gates = SqueezeExcite(reduction_ratio=2)

    def build(self, input_shape):
        self.gates.build(input_shape)

    def call(self, inputs):
        return self.gates(inputs)


def test_attention_inside_a_layer_is_found(rng):
    block = Block(name="block")
    inputs = keras.Input((6, 6, 4))
    scores = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(block(inputs)))
    model = keras.Model(inputs, scores)
    randomize(block.gates, rng)
    use = attention_use(model, rng.normal(0, 2, (4, 6, 6, 4)).astype("float32"))
    assert [gate.layer for gate in use.gates] == [f"block/{block.gates.name}"]
    assert use.gates[0].over_images > 1e-3


def test_batches_of_several_sizes(rng):
    layer = SqueezeExcite(reduction_ratio=2)
    model = classifier(layer)
    randomize(layer, rng)
    x = rng.normal(0, 2, (IMAGES, 6, 6, 4)).astype("float32")
    labels = rng.integers(0, 3, IMAGES)

    class Uneven(keras.utils.PyDataset):
        bounds = (0, 3, 3, 12, IMAGES)

        def __len__(self):
            return 4

        def __getitem__(self, index):
            part = slice(*self.bounds[index : index + 2])
            return x[part], labels[part]

    uneven, whole = attention_use(model, Uneven()), attention_use(model, x, labels)
    assert uneven.images == IMAGES
    assert uneven.accuracy == whole.accuracy
    assert uneven.replaced.kl_divergence == pytest.approx(whole.replaced.kl_divergence, rel=1e-3)


def test_what_cannot_be_measured(rng):
    x = rng.normal(0, 1, (4, 6, 6, 4)).astype("float32")
    inputs = keras.Input((6, 6, 4))
    plain = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs), name="plain")
    with pytest.raises(ValueError, match="Received: model plain, which has none"):
        attention_use(plain, x)
    shared = SqueezeExcite(reduction_ratio=2, name="shared")
    twice = keras.layers.GlobalAveragePooling2D()(shared(shared(inputs)))
    with pytest.raises(ValueError, match="Received: shared, which it uses several times"):
        attention_use(keras.Model(inputs, twice), x)
    model = classifier(SqueezeExcite(reduction_ratio=2))
    with pytest.raises(ValueError, match=r"one for each input. Received: shape \(4, 3\)"):
        attention_use(model, x, np.eye(3)[[0, 1, 2, 0]])
    with pytest.raises(ValueError, match=r"a label for each input. Received: 7 labels for 4"):
        attention_use(model, x, np.zeros(7, int))
    with pytest.raises(ValueError, match=r"`images_per_gate` must be at least 1. Received: 0"):
        attention_use(model, x, images_per_gate=0)
    with pytest.raises(NotFiniteError, match="answers that are finite"):
        attention_use(model, np.full_like(x, np.nan))
    with pytest.raises(ValueError, match="Expected inputs as arrays"):
        attention_use(model, iter(x))
    with pytest.raises(ValueError, match="Expected a model that has been built"):
        attention_use(keras.Sequential([SqueezeExcite()]), x)
    with pytest.raises(ValueError, match="Expected at least one input"):
        attention_use(classifier(SqueezeExcite(reduction_ratio=2)), x[:0])
