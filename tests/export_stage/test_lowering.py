"""Lowering gives the same function in the operations of the target."""

import numpy as np
import pytest

from keras_cbam.config.export import ExportOptions
from keras_cbam.errors import InputError
from keras_cbam.export.children.arrays import save_arrays
from keras_cbam.export.runtimes.placement import delegations
from keras_cbam.export.runtimes.table import run_artifact
from keras_cbam.export.tflite.graph import Graph
from keras_cbam.export.tflite.noise import main as noise
from tests.backend import BACKEND
from tests.export_stage.test_tflite_lowering import as_it_is, lower

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

# Of a probability: two steps where outputs are in steps, and what sums in another order differ by.
LARGEST = {"float32": 1e-6, "float16": 1e-6, "dynamic": 1e-6, "int8": 2 / 256, "int16x8": 1e-3}


def means(content):
    """How many values each mean of a file is over."""
    graph = Graph(content)
    found = [o.inputs for kind, o in graph.operations() if kind == "MEAN"]
    return sorted(len(np.atleast_1d(graph.values(int(axes)))) for _, axes in found)


@pytest.mark.parametrize("precision", LARGEST)
def test_an_npu_gets_convolutions_for_channel_means(precision, everything, images, tmp_path):
    directory, _ = everything
    content = (directory / f"model_{precision}.tflite").read_bytes()
    lowered = lower(content, "npu")
    assert means(content) == [1, 1, 2, 2, 2]
    assert means(lowered) == [2, 2, 2]
    assert lower(content, "cpu") == as_it_is(content)
    assert lower(lowered, "npu") == lowered
    save_arrays(tmp_path / "inputs.npz", {"image": images})
    answers = []
    for each in (content, lowered):
        (tmp_path / "model.tflite").write_bytes(each)
        found, _ = run_artifact("litert", tmp_path / "model.tflite", tmp_path / "inputs.npz")
        answers.append(found["probabilities"])
    assert np.ptp(answers[0], axis=0).max() > 0.9
    assert np.abs(answers[0] - answers[1]).max() <= LARGEST[precision]
    assert (answers[0].argmax(-1) == answers[1].argmax(-1)).mean() >= 0.99


def test_the_noise_of_lowered_convolutions_is_told(everything, images, tmp_path):
    """A convolution by columns leaves its name to the reshape after it."""
    directory, _ = everything
    graph = Graph((directory / "model_int8.tflite").read_bytes())
    by_columns = {each.output for each in graph.weighted()}
    renamed = [
        graph.name(int(operation.outputs[0]))
        for kind, operation in graph.operations()
        if kind == "RESHAPE" and int(operation.inputs[0]) in by_columns
    ]
    assert len(renamed) == 4  # two maps of two layers
    save_arrays(tmp_path / "samples.npz", {"image": images[:2]})
    paths = [directory / f"model_{precision}.tflite" for precision in ("int8", "float32")]
    found = noise(*map(str, (*paths, tmp_path / "samples.npz")))
    assert set(renamed) <= {name for kind, name in found["operation"] if kind == "CONV_2D"}


def test_all_of_it_maps_to_an_ethos_u55(everything, tmp_path):
    pytest.importorskip("ethosu")
    directory, _ = everything
    content = (directory / "model_int8.tflite").read_bytes()
    for target, whole, outside in (
        ("cpu", False, "2 MEAN (Unsupported depth-reduction)"),
        ("npu", True, ""),
    ):
        (tmp_path / "model_int8.tflite").write_bytes(lower(content, target))
        (found,) = [
            each
            for each in delegations(tmp_path, ["model_int8.tflite"])
            if each.accelerator == "Ethos-U55"
        ]
        assert (found.inside == "100.0% of the operations") == whole
        assert found.outside == outside


def test_a_microcontroller_gives_the_same_answers(everything, images):
    """TensorFlow Lite for Microcontrollers gives those of LiteRT's reference kernels to the bit."""
    pytest.importorskip("tflite_micro")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from tflite_micro import runtime

    directory, _ = everything
    content = lower((directory / "model_int8.tflite").read_bytes(), "npu")
    micro = runtime.Interpreter.from_bytes(content)
    reference, optimized = (
        Interpreter(model_content=content, experimental_op_resolver_type=kernels)
        for kernels in (OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN)
    )
    graph = Graph(content)
    ours, exact, fast = [], [], []
    for image in images[:50]:
        steps = graph.quantize(image[None], graph.inputs[0])
        micro.set_input(steps, 0)
        micro.invoke()
        ours.append(micro.get_output(0)[0].astype(int))
        for interpreter, answers in ((reference, exact), (optimized, fast)):
            interpreter.allocate_tensors()
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], steps)
            interpreter.invoke()
            output = interpreter.get_output_details()[0]["index"]
            answers.append(interpreter.get_tensor(output)[0].astype(int))
    assert np.ptp(ours, axis=0).max() > 200
    assert np.array_equal(ours, exact)
    assert np.array_equal(np.argmax(ours, -1), np.argmax(fast, -1))


def test_unknown_targets_are_refused():
    with pytest.raises(InputError, match=r"a target of cpu, npu, generic. Received: tpu"):
        ExportOptions(target="tpu")
