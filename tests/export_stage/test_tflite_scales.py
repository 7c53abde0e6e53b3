"""The repair of scales that a runtime would refuse."""

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, ChannelAttention
from keras_cbam.export import export_model
from keras_cbam.export.children.arrays import save_arrays
from keras_cbam.export.runtimes.table import run_artifact
from keras_cbam.export.source.prepare import prepare
from keras_cbam.export.source.serving import Serving
from keras_cbam.export.tflite.bias import correct_biases
from keras_cbam.export.tflite.convert import convert, float32, twin, write
from keras_cbam.export.tflite.graph import Graph
from keras_cbam.export.tflite.scales import repair_scales, separate_biases, zero_scales
from tests.backend import BACKEND, quick
from tests.drawn import vary

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


@pytest.fixture(scope="module")
def dead_unit():
    """A hidden map that never fires beside a path that does, as a narrow attention MLP has."""
    inputs = keras.Input((8, 8, 3), name="image")
    hidden = keras.layers.Conv2D(2, 1, activation="relu", name="dead")
    after = keras.layers.Conv2D(4, 1, name="after")
    alive = keras.layers.Conv2D(4, 1, name="alive")
    x = keras.layers.Add()([after(hidden(inputs)), alive(inputs)])
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="y")(x))
    hidden.set_weights([np.full((1, 1, 3, 2), -1.0), np.full(2, -0.5)])
    rng = np.random.default_rng(0)
    after.set_weights([rng.normal(0, 1, (1, 1, 2, 4)), np.array([1.0, -2.0, 0.5, 3.0])])
    alive.set_weights([rng.normal(0, 1, (1, 1, 3, 4)), np.zeros(4)])
    return model


def network_after(model):
    """Weights and biases of the reader, an output channel a row."""
    kernel, bias = model.get_layer("after").get_weights()
    return kernel[0, 0].T, bias[:, None]


def test_the_dead_unit_is_repaired_and_its_reader_keeps_its_bias(dead_unit, tmp_path):
    images = np.random.default_rng(1).uniform(0, 1, (250, 8, 8, 3)).astype("float32")
    serving = Serving(prepare(dead_unit), tmp_path, [images])
    after = convert(serving, "int8")
    assert len(repair_scales(after, twin(serving))) == 1
    for new in after.weighted():
        factor = (
            after.scales(new.features)[0]
            * after.scales(new.weights).max()
            / after.scales(new.output)[0]
        )
        assert factor < 256
    reader = next(o for o in after.weighted() if "after" in after.name(o.output))
    for tensor, true in zip((reader.weights, reader.bias), network_after(dead_unit), strict=True):
        step = after.scales(tensor).astype("float64")
        kept = after.values(tensor).reshape(4, -1) * step[:, None]
        assert (np.abs(kept - true) <= 0.51 * step[:, None] + 1e-7 * np.abs(true)).all()
    # In units of next to nothing no bias would fit, but for weights in steps of a third.
    assert (after.scales(reader.weights) < 0.05).all()
    path = tmp_path / "repaired.tflite"
    path.write_bytes(after.packed())
    save_arrays(tmp_path / "inputs.npz", {"image": images})
    found, _ = run_artifact("litert", path, tmp_path / "inputs.npz")
    expected = dead_unit.predict(images, verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.05
    assert np.abs(found["y"] - expected).max() < 0.05


def exported(model, images, precision, folder):
    """The report of a TFLite file that is calibrated on the images, and compared on them."""
    report = export_model(
        model,
        folder / "out",
        formats="tflite",
        precisions=precision,
        representative_dataset=images,
        verification_data=images,
        on_mismatch="report",
    )
    return report.artifacts[0]


def test_channels_of_zeros_get_a_scale(tmp_path):
    """As attention has where what it was attached to never fires: with int16 it is 0."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="half")(image)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(x))
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, (3, 3, 3, 4)) * [1, 0, 1, 0]
    model.get_layer("half").set_weights([kernel, np.array([1.0, 0.0, 0.5, 0.0])])
    images = rng.uniform(0, 1, (20, 8, 8, 3)).astype("float32")
    assert zero_scales(convert(Serving(prepare(model), tmp_path, [images]), "int16x8"))
    (parity,) = exported(model, images, "int16x8", tmp_path).parity
    assert np.ptp(model.predict(images, verbose=0), axis=0)[[0, 2]].min() > 0.05
    assert parity.largest_error < 0.01


@pytest.mark.parametrize("precision", quick(["int8", "int16x8"], {"int8"}))
def test_a_sum_of_dead_units_is_repaired(precision, tmp_path):
    """As channel attention is where no hidden unit fires for either pool."""
    image = keras.Input((8, 8, 3), name="image")
    attention = ChannelAttention(4)
    x = attention(keras.layers.Conv2D(8, 3, name="convolution")(image))
    model = vary(keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(x)))
    attention.squeeze.bias.assign(np.full(attention.squeeze.bias.shape, -100.0))
    attention.excite.bias.assign(np.zeros(attention.excite.bias.shape))
    images = np.random.default_rng(1).uniform(0, 1, (250, 8, 8, 3)).astype("float32")
    artifact = exported(model, images, precision, tmp_path)
    assert artifact.missed == ()
    assert precision == "int16x8" or any("1 XNNPACK partition" in note for note in artifact.notes)
    assert any("scales next to zero" in note for note in artifact.notes)
    expected = model.predict(images, verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.05
    assert artifact.parity[0].largest_error < 0.05


@pytest.mark.parametrize("precision", quick(["int8", "int16x8"], {"int8"}))
def test_attention_that_is_still_the_identity_is_exported(precision, tmp_path, rng):
    """Its kernels and its gamma are zeros, and so is what they make."""
    image = keras.Input((8, 8, 3), name="image")
    x = CBAM(4, identity_init=True)(keras.layers.Conv2D(8, 3, name="convolution")(image))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(x))
    images = rng.uniform(0, 1, (250, 8, 8, 3)).astype("float32")
    artifact = exported(model, images, precision, tmp_path)
    assert artifact.missed == ()
    assert np.ptp(model.predict(images, verbose=0), axis=0).min() > 0.05
    assert artifact.parity[0].largest_error < 0.02


def test_a_healthy_graph_is_left_alone(network, images, tmp_path):
    serving = Serving(prepare(network), tmp_path, [images[:50]])
    graph = convert(serving, "int8")
    before = graph.packed()
    assert repair_scales(graph, twin(serving)) == []
    assert graph.packed() == before


def test_a_file_is_read_and_written_once(network, images, tmp_path, monkeypatch):
    serving = Serving(prepare(network), tmp_path, [images[:50]])
    twin = float32(serving).read_bytes()
    read, written = [], []
    before, packed = Graph.__init__, Graph.packed
    monkeypatch.setattr(Graph, "__init__", lambda self, c: (read.append(c), before(self, c))[1])
    monkeypatch.setattr(Graph, "packed", lambda self: (written.append(self), packed(self))[1])
    write("int8", serving, tmp_path / "model.tflite")
    assert len(read) == 2
    assert read.count(twin) == 1
    assert len(written) == 1


def test_biases_take_back_what_rounded_weights_shift(tmp_path):
    """Worked by hand, for each kind of convolution: rounding error times mean, with no border."""
    image = keras.Input((8, 8, 4), name="image")
    layers = {
        "full": keras.layers.Conv2D(8, 3, name="full"),
        "grouped": keras.layers.Conv2D(8, 3, groups=2, name="grouped"),
        "depthwise": keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
    }
    outputs = [keras.layers.GlobalAveragePooling2D()(layer(image)) for layer in layers.values()]
    model = keras.Model(image, [keras.layers.Dense(3)(x) for x in outputs])
    rng = np.random.default_rng(0)
    # Each channel has a mean of its own and is the same all over an image.
    images = (rng.uniform(0, 1, (16, 1, 1, 4)) + np.arange(4)) * np.ones((16, 8, 8, 4))
    images = images.astype("float32")
    serving = Serving(prepare(model), tmp_path, [images])
    after = convert(serving, "int16x8")
    separate_biases(after)
    before = Graph(after.packed())
    correct_biases(after, twin(serving), float32(serving), {"image": images}, tmp_path)
    names = {(8, 3, 3, 4): "full", (8, 3, 3, 2): "grouped", (1, 3, 3, 8): "depthwise"}
    seen = 0
    for operation in before.weighted():
        name = names.get(before.shape(operation.weights))
        if name:
            kernel = np.asarray(layers[name].kernel, "float64")
            rounded = before.real_values(operation.weights)
            if name == "depthwise":
                error = (rounded[0] - kernel.reshape(3, 3, 8)).sum((0, 1))
                expected = error * images.mean((0, 1, 2))[[0, 0, 1, 1, 2, 2, 3, 3]]
            else:
                error = (np.moveaxis(rounded, 0, -1) - kernel).sum((0, 1))
                means = images.mean((0, 1, 2)).reshape(1 if name == "full" else 2, -1)
                parts = np.split(error, len(means), axis=1)
                expected = np.concatenate([m @ e for m, e in zip(means, parts, strict=True)])
            change = after.values(operation.bias) - before.values(operation.bias)
            step = after.scales(operation.bias).astype("float64")
            assert np.abs(expected).max() > 20 * step.max()
            assert (np.abs(change * step + expected) <= 0.6 * step + 1e-6).all()
            seen += 1
    assert seen == 3


def sharers(graph):
    """How many tensors read each bias's buffer."""
    read = [tensor.buffer for tensor in graph.tensors]
    return [read.count(read[o.bias]) for o in graph.weighted() if o.bias >= 0]


def test_a_bias_is_separated_from_a_constant_that_is_none(network, images, tmp_path):
    """As one of -1 is stored with the axis of a reduction."""
    graph = convert(Serving(prepare(network), tmp_path, [images[:50]]), "int8")
    separate_biases(graph)
    operation = next(o for o in graph.weighted() if o.bias >= 0)
    graph.tensors[operation.weights].buffer = graph.tensors[operation.bias].buffer
    assert sharers(graph)[0] == 2
    separate_biases(graph)
    assert max(sharers(graph)) == 1


def test_equal_biases_are_separated(network, images, tmp_path):
    """The spatial convolutions have zero biases, which the converter stores once."""
    graph = convert(Serving(prepare(network), tmp_path, [images[:50]]), "int8")
    assert max(sharers(graph)) > 1
    contents = {"before": graph.packed()}
    separate_biases(graph)
    assert max(sharers(graph)) == 1
    contents["after"] = graph.packed()
    answers = []
    save_arrays(tmp_path / "inputs.npz", {"image": images[:8]})
    for name, content in contents.items():
        (tmp_path / f"{name}.tflite").write_bytes(content)
        found, _ = run_artifact("litert", tmp_path / f"{name}.tflite", tmp_path / "inputs.npz")
        answers.append(found["probabilities"])
    assert np.array_equal(*answers)
