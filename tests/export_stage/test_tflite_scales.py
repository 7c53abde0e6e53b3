"""The repair of scales that a runtime would refuse."""

import keras
import numpy as np
import pytest

from keras_cbam.export import export
from keras_cbam.export.prepare import prepare
from keras_cbam.export.runtimes import run_artifact
from keras_cbam.export.serving import Serving
from keras_cbam.export.tflite import _convert, _int8, float32
from keras_cbam.export.tflite_bias import correct_biases
from keras_cbam.export.tflite_graph import QuantizedGraph
from keras_cbam.export.tflite_scales import repair_scales, separate_biases
from tests.conftest import BACKEND

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
    content = _convert(serving, _int8)
    fixed, repaired = repair_scales(content, float32(serving).read_bytes())
    assert len(repaired) == 1
    after = QuantizedGraph(fixed)
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
    path.write_bytes(fixed)
    np.savez(tmp_path / "inputs.npz", image=images)
    found, _ = run_artifact("litert", path, tmp_path / "inputs.npz")
    expected = dead_unit.predict(images, verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.05
    assert np.abs(found["y"] - expected).max() < 0.05


def test_a_healthy_graph_is_left_alone(network, images, tmp_path):
    serving = Serving(prepare(network), tmp_path, [images[:50]])
    content = _convert(serving, _int8)
    fixed, repaired = repair_scales(content, float32(serving).read_bytes())
    assert repaired == []
    assert fixed == content


def test_export_names_the_repair(dead_unit, tmp_path):
    images = np.random.default_rng(1).uniform(0, 1, (250, 8, 8, 3)).astype("float32")
    report = export(
        dead_unit,
        tmp_path / "out",
        formats=["tflite"],
        precisions=["int8"],
        representative_dataset=images,
        verification_data=images,
        on_mismatch="report",
    )
    assert any("1 scales next to zero" in note for note in report.artifacts[0].notes)


def test_biases_are_corrected_towards_the_float_network(network, images, tmp_path):
    """A shift put into one convolution's bias is taken back, to the resolution of its output."""
    serving = Serving(prepare(network), tmp_path, [images[:50]])
    plain = float32(serving).read_bytes()
    graph = QuantizedGraph(_convert(serving, _int8))
    shifted = next(o for o in graph.weighted() if o.bias >= 0)
    original = graph.values(shifted.bias).copy()
    step = graph.scales(shifted.output)[0] / graph.scales(shifted.bias)
    graph.add_to_bias(shifted.bias, 10 * step)
    content = separate_biases(bytes(graph.buffer))
    corrected = QuantizedGraph(correct_biases(content, plain, [images[:12]], tmp_path))
    left = np.abs(corrected.values(shifted.bias) - original) / step
    assert left.max() < 1.5
    other = correct_biases(plain, plain, [images[:2]], tmp_path)
    assert other == plain


def sharers(content):
    """How many tensors read each bias's buffer."""
    graph = QuantizedGraph(content)
    read = [graph.graph.Tensors(t).Buffer() for t in range(graph.graph.TensorsLength())]
    return [read.count(read[o.bias]) for o in graph.weighted() if o.bias >= 0]


def test_a_bias_is_separated_from_a_constant_that_is_none(network, images, tmp_path):
    """As one of -1 is stored with the axis of a reduction."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    content = separate_biases(_convert(Serving(prepare(network), tmp_path, [images[:50]]), _int8))
    operation = next(o for o in QuantizedGraph(content).weighted() if o.bias >= 0)
    model = schema.ModelT.InitFromPackedBuf(content)
    tensors = model.subgraphs[0].tensors
    tensors[operation.weights].buffer = tensors[operation.bias].buffer
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    shared = bytes(builder.Output())
    assert sharers(shared)[0] == 2
    assert max(sharers(separate_biases(shared))) == 1


def test_equal_biases_are_separated(network, images, tmp_path):
    """The spatial convolutions have zero biases, which the converter stores once."""
    content = _convert(Serving(prepare(network), tmp_path, [images[:50]]), _int8)
    separated = separate_biases(content)
    assert max(sharers(content)) > 1
    assert max(sharers(separated)) == 1
    answers = []
    np.savez(tmp_path / "inputs.npz", image=images[:8])
    for name, each in (("before", content), ("after", separated)):
        (tmp_path / f"{name}.tflite").write_bytes(each)
        found, _ = run_artifact("litert", tmp_path / f"{name}.tflite", tmp_path / "inputs.npz")
        answers.append(found["probabilities"])
    assert np.array_equal(*answers)
