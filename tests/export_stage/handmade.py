"""An export of one ONNX file, written by hand in no time."""

import numpy as np

from keras_cbam.export.formats import ARTIFACTS
from keras_cbam.export.proof.manifest import size_and_hash, write_manifest
from keras_cbam.export.proof.reference import REFERENCE, write_reference
from keras_cbam.export.proof.report import ArtifactReport, Report

NAME = "model.onnx"


def doubling(nodes=None, initializers=()):
    """An ONNX model of x (batch, 2); by default y = x + x."""
    from onnx import TensorProto, helper

    nodes = nodes or [helper.make_node("Add", ["x", "x"], ["y"])]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, (None, 2)) for n in "xy")
    graph = helper.make_graph(nodes, "graph", [x], [y], list(initializers))
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def endless():
    """y = x + x after a loop of 2^62 turns."""
    from onnx import TensorProto, helper

    turn, go, went = (
        helper.make_tensor_value_info(name, kind, ())
        for name, kind in (
            ("i", TensorProto.INT64),
            ("go", TensorProto.BOOL),
            ("on", TensorProto.BOOL),
        )
    )
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [turn, go, helper.make_tensor_value_info("v", TensorProto.FLOAT, (None, 2))],
        [went, helper.make_tensor_value_info("w", TensorProto.FLOAT, (None, 2))],
    )
    constants = (
        helper.make_tensor("turns", TensorProto.INT64, (), [2**62]),
        helper.make_tensor("yes", TensorProto.BOOL, (), [True]),
    )
    return doubling([helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)], constants)


def shipped(directory, model=None, count=4):
    """Write the directory of an export."""
    directory.mkdir()
    (directory / NAME).write_bytes((model or doubling()).SerializeToString())
    inputs = np.random.default_rng(0).normal(size=(count, 2)).astype("float32")
    size, digest = size_and_hash(directory / NAME)
    artifact = next(each for each in ARTIFACTS if each.name == NAME)
    report = Report(
        directory=str(directory),
        inputs=({"name": "x", "shape": [None, 2], "dtype": "float32", "range": [-4.0, 4.0]},),
        outputs=({"name": "y", "shape": [None, 2]},),
        preprocessing={},
        images=count,
        drawn=False,
        spread=1.0,
        accuracy=None,
        artifacts=(
            ArtifactReport(NAME, "onnx", artifact.precision, "onnxruntime", size, digest, ()),
        ),
    )
    write_manifest(report, directory / "manifest.json")
    answers = {"y": 2 * inputs}
    write_reference(directory / REFERENCE, {"x": inputs}, answers, {NAME: answers})
    return directory
