"""What is done to ONNX files beside tf2onnx and onnxruntime's tools."""

import shutil

import keras
import numpy as np
import pytest

from keras_cbam import CBAM, SpatialAttention
from keras_cbam.export import export_model
from keras_cbam.export.onnx.bias import correct_biases
from keras_cbam.export.onnx.convert import float32, reshape_where_nothing_moves
from keras_cbam.export.source.prepare import prepare
from keras_cbam.export.source.serving import Serving
from tests.backend import BACKEND
from tests.drawn import vary

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


def rounded(kernel, channels):
    """To 7 bits, with a scale for each output channel; axes (height, width, in, out)."""
    scale = np.abs(kernel.reshape(-1, channels)).max(0) / 64
    return np.rint(kernel.reshape(-1, channels) / scale).reshape(kernel.shape) * scale.reshape(
        kernel.shape[-2:] if kernel.shape[-1] != channels else channels
    )


def test_transposes_that_tf2onnx_leaves_are_merged(tmp_path, rng):
    """Its optimizer gives up at some additions of a scalar, such as a hard sigmoid's."""
    import onnx

    image = x = keras.Input((16, 16, 3), name="image")
    for index in range(3):
        x = keras.layers.Conv2D(8, 3, padding="same", name=f"conv{index}")(x)
        gate = keras.layers.ReLU(6.0)(keras.layers.Conv2D(8, 1)(x) + 3.0) * (1 / 6)
        x = keras.layers.Multiply()([x, gate])
    model = vary(keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(x)))
    report = export_model(model, tmp_path, formats=["onnx"])
    assert report.verified
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    count = sum(node.op_type == "Transpose" for node in nodes)
    assert count <= 3  # of 12
    note = next(note for note in report.artifacts[0].notes if "Transpose" in note)
    assert note.startswith(f"{count} Transposes, which move 768, ")
    assert "?" not in note
    assert {node.domain for node in nodes} == {""}


def test_a_transpose_that_moves_nothing_is_a_reshape(rng):
    import onnx
    import onnxruntime

    sizes = {"vector": (1, 1, 16), "row": (1, 5, 1), "image": (4, 5, 3)}
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *size])
        for name, size in sizes.items()
    ]
    moved = [
        onnx.helper.make_tensor_value_info(
            f"{name}_moved", onnx.TensorProto.FLOAT, ["N", size[2], *size[:2]]
        )
        for name, size in sizes.items()
    ]
    nodes = [
        onnx.helper.make_node("Transpose", [name], [f"{name}_moved"], perm=[0, 3, 1, 2])
        for name in sizes
    ]
    graph = onnx.helper.make_graph(nodes, "moved", ends, moved)
    opset = onnx.helper.make_opsetid("", 17)
    found = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    reshape_where_nothing_moves(found)
    onnx.checker.check_model(found)
    assert [node.op_type for node in found.graph.node] == ["Reshape", "Reshape", "Transpose"]
    values = {name: rng.normal(0, 1, (2, *size)).astype("float32") for name, size in sizes.items()}
    answers = onnxruntime.InferenceSession(found.SerializeToString()).run(None, values)
    for value, answer in zip(values.values(), answers, strict=True):
        assert np.array_equal(answer, value.transpose(0, 3, 1, 2))


def test_normalization_adds_no_input(tmp_path):
    """Its constants are captured, as variables are."""
    import onnx

    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 9.0, 16.0])(image)
    model = keras.Model(image, keras.layers.GlobalMaxPooling2D(name="y")(x))
    report = export_model(model, tmp_path, formats=["onnx"])
    assert report.verified
    assert [each.name for each in onnx.load(tmp_path / "model.onnx").graph.input] == ["image"]


def test_biases_take_back_what_rounding_will_shift(tmp_path):
    """Worked by hand for each kind of convolution: rounding error times mean."""
    import onnx

    image = keras.Input((8, 8, 4), name="image")
    layers = {
        "full": keras.layers.Conv2D(8, 3, bias_initializer="ones", name="full"),
        "grouped": keras.layers.Conv2D(8, 3, groups=2, bias_initializer="ones", name="grouped"),
        "depthwise": keras.layers.DepthwiseConv2D(
            3, depth_multiplier=2, bias_initializer="ones", name="depthwise"
        ),
    }
    outputs = [keras.layers.GlobalAveragePooling2D()(layer(image)) for layer in layers.values()]
    model = keras.Model(image, outputs)
    rng = np.random.default_rng(0)
    images = (rng.uniform(0, 1, (16, 1, 1, 4)) + np.arange(4)) * np.ones((16, 8, 8, 4))
    serving = Serving(prepare(model), tmp_path, [images.astype("float32")])
    path = tmp_path / "corrected.onnx"
    shutil.copy(float32(serving), path)
    correct_biases(path, serving.calibration_samples(4), largest=64)

    means = images.mean((0, 1, 2))
    kernels = {name: np.asarray(layer.kernel, "float64") for name, layer in layers.items()}
    errors = {name: (rounded(k, 8) - k).sum((0, 1)) for name, k in kernels.items()}
    expected = {
        (8, 4, 3, 3): means @ errors["full"],
        (8, 2, 3, 3): np.concatenate(
            [means[:2] @ errors["grouped"][:, :4], means[2:] @ errors["grouped"][:, 4:]]
        ),
        (8, 1, 3, 3): (errors["depthwise"] * means[:, None]).reshape(8),
    }
    graph = onnx.load(path).graph
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    found = {
        values[node.input[1]].shape: values[node.input[2]]
        for node in graph.node
        if node.op_type == "Conv"
    }
    assert found.keys() == expected.keys()
    for shape, shift in expected.items():
        assert np.abs(shift).max() > 1e-3
        assert np.allclose(found[shape], 1 - shift, atol=1e-6), shape
    used = {name for node in graph.node for name in node.input}
    assert set(values) <= used


@pytest.mark.parametrize("layer", [CBAM(2), SpatialAttention()], ids=["CBAM", "spatial"])
def test_attention_after_resizing(layer, tmp_path):
    """33 / 47 in 32 bits, times 47, is less than 33, and 23 / 33, times 33, less than 23."""
    image = x = keras.Input((47, 47, 3), name="image")
    for index, size in enumerate((33, 23)):
        x = keras.layers.Conv2D(4, 3, padding="same")(keras.layers.Resizing(size, size)(x))
        x = type(layer).from_config({**layer.get_config(), "name": f"attention{index}"})(x)
    model = vary(keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(x)))
    report = export_model(model, tmp_path, formats=["onnx"], runtimes=())
    assert report.verified
    assert report.spread > 0.1


def test_an_exact_gelu_is_converted(tmp_path):
    """TensorFlow makes it of erfc, which tf2onnx has no conversion for."""
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(8, 3, activation=lambda x: keras.ops.gelu(x, approximate=False))(image)
    model = vary(keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(x)))
    report = export_model(model, tmp_path, formats=["onnx"])
    assert report.verified
    assert report.spread > 0.1
