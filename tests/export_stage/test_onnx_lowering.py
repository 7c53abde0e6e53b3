"""ONNX lowered for a CPU gives the same function, for any batch."""

import numpy as np
import pytest

from keras_cbam.export.onnx.convert import shapes_of_any_batch
from keras_cbam.export.onnx.lowering import LOWERINGS
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

# Channels and sizes, and the pools of the maximum: one, several, rows that are too long.
MAPS = {(24, 8, 8): 1, (64, 3, 5): 2, (2048, 2, 2): 3, (31, 6, 6): 1, (8, 48, 48): 1}
# Where pools would be slower: a prime number of channels, or of places.
SLOW = {(1, 5, 7): 0, (37, 6, 6): 0, (74, 6, 6): 0, (6, 1, 4099): 0}


def model_of(nodes, size, outputs, constants=()):
    import onnx

    make = onnx.helper
    value = make.make_tensor_value_info
    graph = make.make_graph(
        nodes,
        "graph",
        [value("x", onnx.TensorProto.FLOAT, ["N", *size])],
        [value(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)


def lowered(model):
    for lowering in LOWERINGS["cpu"]:
        model = lowering(model, shapes_of_any_batch(model))
    return model


def answers(model, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def kinds(model):
    return [node.op_type for node in model.graph.node]


def pools():
    import onnx

    return [
        onnx.helper.make_node(kind, ["x"], [kind], axes=[1], keepdims=1)
        for kind in ("ReduceMean", "ReduceMax")
    ]


@pytest.mark.parametrize(("size", "count"), [*MAPS.items(), *SLOW.items()], ids=str)
def test_pools_over_channels(size, count, rng):
    model = lowered(model_of(pools(), size, ["ReduceMean", "ReduceMax"]))
    found = kinds(model)
    assert (found.count("ReduceMean"), found.count("MatMul")) == (0, 1)
    assert (found.count("ReduceMax"), found.count("MaxPool")) == (int(not count), count)
    x = rng.normal(size=(3, *size)).astype("float32")
    mean, largest = answers(model, x)
    np.testing.assert_allclose(
        mean, x.astype("float64").mean(1, keepdims=True), atol=1e-6 * np.abs(x).max()
    )
    np.testing.assert_array_equal(largest, x.max(1, keepdims=True))


def test_maps_of_free_sizes_are_left(rng):
    size = (8, "H", 5)
    model = lowered(model_of(pools(), size, ["ReduceMean", "ReduceMax"]))
    assert kinds(model) == ["ReduceMean", "ReduceMax"]


def test_other_reductions_are_left():
    import onnx

    nodes = [
        onnx.helper.make_node("ReduceMax", ["x"], ["a"], axes=[2], keepdims=1),
        onnx.helper.make_node("ReduceMean", ["x"], ["b"], axes=[1], keepdims=0),
        onnx.helper.make_node("ReduceMean", ["x"], ["c"], axes=[1, 2], keepdims=1),
    ]
    model = lowered(model_of(nodes, (4, 5, 6), "abc"))
    assert kinds(model) == ["ReduceMax", "ReduceMean", "ReduceMean"]


@pytest.mark.parametrize(
    ("target", "stays"),
    [
        ((-1, 4, 5, 6), False),
        ((0, 4, 5, 6), False),
        ((-1, 4, 6, 5), True),
        ((1, -1, 5, 6), True),
        ((-1, 120), True),
    ],
)
def test_a_reshape_to_the_same_shape_is_nothing(target, stays, rng):
    """For any batch: (1, -1, 5, 6) is the same shape for a batch of one only."""
    import onnx

    nodes = [onnx.helper.make_node("Reshape", ["x", "shape"], ["y"])]
    constants = {"shape": np.array(target, "int64")}
    model = model_of(nodes, (4, 5, 6), "y", constants)
    found = lowered(model_of(nodes, (4, 5, 6), "y", constants))
    assert ("Reshape" in kinds(found)) == stays
    x = rng.normal(size=(3, 4, 5, 6)).astype("float32")
    np.testing.assert_array_equal(answers(found, x)[0], answers(model, x)[0])


@pytest.mark.parametrize(
    ("kernels", "pads", "count"),
    [
        (((1, 1, 3, 3), (1, 1, 3, 3)), (1, 1), 1),
        (((1, 1, 3, 3), (1, 1, 5, 5)), (1, 2), 2),  # kernels differ
        (((2, 1, 3, 3), (2, 1, 3, 3)), (1, 1), 2),  # more than one map comes out
    ],
)
def test_the_sum_of_convolutions_of_single_maps(kernels, pads, count, rng):
    import onnx

    make = onnx.helper.make_node
    nodes = [make("Split", ["x"], ["a", "b"], axis=1)]
    for name, kernel, pad in zip("ab", kernels, pads, strict=True):
        nodes.append(make("Conv", [name, f"k{name}"], [f"c{name}"], pads=[pad] * 4))
        assert kernel[2] == 2 * pad + 1
    nodes.append(make("Add", ["ca", "cb"], ["y"]))
    constants = {
        f"k{name}": rng.normal(size=kernel).astype("float32")
        for name, kernel in zip("ab", kernels, strict=True)
    }
    model = model_of(nodes, (2, 6, 7), "y", constants)
    found = lowered(model_of(nodes, (2, 6, 7), "y", constants))
    assert kinds(found).count("Conv") == count
    x = rng.normal(size=(3, 2, 6, 7)).astype("float32")
    np.testing.assert_allclose(answers(found, x)[0], answers(model, x)[0], atol=1e-5)


@pytest.mark.parametrize("same", [True, False], ids=["same", "others"])
@pytest.mark.parametrize("bias", [["bias"], []], ids=["bias", "no bias"])
def test_the_sum_of_one_convolution_twice(same, bias, rng):
    """As in the MLP of channel attention; the bias is counted twice."""
    import onnx

    make = onnx.helper.make_node
    nodes = [
        make("Split", ["x"], ["a", "b"], axis=1),
        make("Conv", ["a", "k", *bias], ["ca"]),
        make("Conv", ["b", "k" if same else "other", *bias], ["cb"]),
        make("Add", ["ca", "cb"], ["y"]),
    ]
    constants = {name: rng.normal(size=(5, 3, 1, 1)).astype("float32") for name in ("k", "other")}
    constants["bias"] = rng.normal(size=5).astype("float32")
    model = model_of(nodes, (6, 1, 1), "y", constants)
    found = lowered(model_of(nodes, (6, 1, 1), "y", constants))
    assert kinds(found).count("Conv") == (1 if same else 2)
    x = rng.normal(size=(3, 6, 1, 1)).astype("float32")
    np.testing.assert_allclose(answers(found, x)[0], answers(model, x)[0], atol=1e-5)


def sum_of_two(a, b, kernels, bias):
    """Convolutions of two maps, 3x3 with one kernel and bias or two kernels, added."""
    import onnx

    make = onnx.helper.make_node
    pads = {"pads": [1, 1, 1, 1]}
    return [
        *a,
        *b,
        make("Conv", ["a", kernels[0], *bias], ["ca"], **pads),
        make("Conv", ["b", kernels[-1], *bias], ["cb"], **pads),
        make("Add", ["ca", "cb"], ["y"]),
    ]


@pytest.mark.parametrize("twice", [True, False], ids=["one kernel", "two kernels"])
@pytest.mark.parametrize("size", [(1, 6, 7), (1, "H", "W")], ids=["known", "free"])
def test_maps_that_are_broadcast_are_left(twice, size, rng):
    """One map is a single place; where sizes are free, inference does not know it."""
    import onnx

    make = onnx.helper.make_node
    a = [make("MaxPool", ["x"], ["a"], kernel_shape=[6, 7])]
    b = [make("Identity", ["x"], ["b"])]
    constants = {name: rng.normal(size=(1, 1, 3, 3)).astype("float32") for name in ("k", "l")}
    constants["bias"] = rng.normal(size=1).astype("float32")
    nodes = sum_of_two(a, b, ["k"] if twice else ["k", "l"], ["bias"] if twice else [])
    model = model_of(nodes, size, "y", constants)
    found = lowered(model_of(nodes, size, "y", constants))
    x = rng.normal(size=(3, 1, 6, 7)).astype("float32")
    np.testing.assert_array_equal(answers(found, x)[0], answers(model, x)[0])


def test_a_constant_map_is_of_a_batch_of_one(rng):
    import onnx

    b = [onnx.helper.make_node("Identity", ["x"], ["b"])]
    constants = {name: rng.normal(size=(1, 1, 3, 3)).astype("float32") for name in ("k", "l")}
    constants["a"] = rng.normal(size=(1, 1, 6, 7)).astype("float32")
    nodes = sum_of_two([], b, ["k", "l"], [])
    model = model_of(nodes, (1, 6, 7), "y", constants)
    found = lowered(model_of(nodes, (1, 6, 7), "y", constants))
    x = rng.normal(size=(3, 1, 6, 7)).astype("float32")
    np.testing.assert_array_equal(answers(found, x)[0], answers(model, x)[0])


def test_a_reshape_to_a_scalar_is_left():
    import onnx

    make = onnx.helper.make_node
    nodes = [
        make("ReduceMax", ["x"], ["one"], keepdims=0),
        make("Reshape", ["one", "shape"], ["y"]),
    ]
    constants = {"shape": np.array([], "int64")}
    assert kinds(lowered(model_of(nodes, (4, 5, 6), "y", constants))) == ["ReduceMax", "Reshape"]


def test_integers_are_left():
    import onnx

    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["c"], to=onnx.TensorProto.INT32),
        onnx.helper.make_node("ReduceMax", ["c"], ["y"], axes=[1], keepdims=1),
    ]
    assert kinds(lowered(model_of(nodes, (4, 5, 6), "y"))) == ["Cast", "ReduceMax"]


def test_a_batch_that_is_not_first_is_left(rng):
    """Of a batch of one it looks like any other size of one."""
    import onnx

    make = onnx.helper.make_node
    nodes = [
        make("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        make("Reshape", ["t", "shape"], ["y"]),
    ]
    constants = {"shape": np.array([-1, 1, 4], "int64")}
    model = model_of(nodes, (8, 4), "y", constants)
    found = lowered(model_of(nodes, (8, 4), "y", constants))
    x = rng.normal(size=(2, 8, 4)).astype("float32")
    np.testing.assert_array_equal(answers(found, x)[0], answers(model, x)[0])


def test_attention_of_an_exported_network(everything):
    """Both CBAMs of it; `everything` is verified in onnxruntime, OpenVINO and onnxruntime-web."""
    import onnx

    directory, _ = everything
    found = kinds(onnx.load(directory / "model.onnx"))
    half = onnx.load(directory / "model_float16.onnx")
    assert not {"ReduceMean", "ReduceMax"} & set(found)
    assert found.count("MatMul") >= 2
    # For each CBAM one less in the MLP, and one in the spatial gate.
    assert found.count("Conv") == kinds(half).count("Conv") - 4
    assert found.count("MaxPool") >= 2
    assert {"ReduceMean", "ReduceMax"} <= set(kinds(half))
