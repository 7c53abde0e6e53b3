"""A SavedModel that somebody else made is read before it is loaded, and refused if need be."""

import pytest

from keras_cbam.errors import InputError
from keras_cbam.export.children.arrays import save_arrays
from keras_cbam.export.children.process import Refused
from keras_cbam.export.runtimes.saved_model_operations import check_operations
from keras_cbam.export.runtimes.table import run_artifact
from tests.backend import BACKEND

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

HARM = "harm.txt"


def write(tf, x):
    tf.io.write_file(HARM, "harm")
    return x


def write_in_a_loop(tf, x):
    return tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, write(tf, x)), (0, x))[1]


def write_in_a_function(tf, x):
    return tf.function(lambda x: write(tf, x))(x)


def read(tf, x):
    return x + tf.strings.to_number(tf.io.read_file("/proc/self/stat"))


def find(tf, x):
    return x + tf.cast(tf.size(tf.io.matching_files("/*")), "float32")


def call_python(tf, x):
    return tf.numpy_function(lambda x: x, [x], tf.float32)


def print_to_a_file(tf, x):
    tf.print(x, output_stream=f"file://{HARM}")
    return x


def save(tf, x):
    tf.raw_ops.SaveV2(prefix=HARM, tensor_names=["x"], shape_and_slices=[""], tensors=[x])
    return x


def read_records(tf, x):
    return tf.data.TextLineDataset("/etc/hostname").reduce(x, lambda x, line: x)


def map_a_file(tf, x):
    return x + tf.raw_ops.ImmutableConst(dtype="float32", shape=(), memory_region_name=HARM)


def read_vocabularies(tf, x):
    remapping, _ = tf.raw_ops.GenerateVocabRemapping(
        new_vocab_file="/etc/hostname",
        old_vocab_file="/etc/hostname",
        new_vocab_offset=0,
        num_new_vocab=1,
    )
    return x + tf.cast(remapping, "float32")


HARMFUL = {
    write: "WriteFile",
    write_in_a_loop: "WriteFile",
    write_in_a_function: "WriteFile",
    read: "ReadFile",
    find: "MatchingFiles",
    call_python: "PyFunc",
    print_to_a_file: "PrintV2",
    save: "SaveV2",
    read_records: ".*TextLineDataset",
    map_a_file: "ImmutableConst",
    read_vocabularies: "GenerateVocabRemapping",
}


def saved(path, step):
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(1.0)
    function = tf.function(
        lambda x: {"y": step(tf, module.weight * x)},
        input_signature=[tf.TensorSpec((None,), tf.float32, name="x")],
        autograph=False,
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": function})
    return path


@pytest.mark.parametrize("step", HARMFUL)
def test_what_reaches_out_is_refused(step, tmp_path):
    path = saved(tmp_path / "saved", step)
    with pytest.raises(Refused, match=rf"no files.*Received: .*saved with {HARMFUL[step]}"):
        check_operations(str(path))


def ordinary(tf, x):
    """Loops, branches, chance, tables and pictures."""
    x = tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, 2 * x), (0, x))[1]
    x = tf.cond(tf.size(x) > 1, lambda: x + tf.random.normal((1,)), lambda: x)
    picture = tf.io.decode_jpeg(tf.io.encode_jpeg(tf.zeros((4, 4, 3), "uint8")))
    return tf.map_fn(lambda each: each + tf.cast(picture[0, 0, 0], "float32"), x)


def test_what_stays_within_is_taken(tmp_path):
    check_operations(str(saved(tmp_path / "saved", ordinary)))


def edited(path, edit):
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    edit(proto.meta_graphs[0])
    file.write_bytes(proto.SerializeToString())
    return path


def call_the_saver(graph):
    """The signature becomes a call of the function that writes the variables."""
    library = graph.graph_def.library.function
    saver = next(f.signature.name for f in library if "traced_save" in f.signature.name)
    for function in library:
        if function.signature.name in graph.object_graph_def.concrete_functions:
            function.node_def.add(name="evil", op="PartitionedCall").attr["f"].func.name = saver


def call_the_saver_by_its_interface(graph):
    for function in graph.graph_def.library.function:
        function.attr["api_implements"].s = b"same"


def call_the_saver_as_a_gradient(graph):
    library = graph.graph_def.library
    saver = next(f.signature.name for f in library.function if "traced_save" in f.signature.name)
    library.gradient.add(function_name="any", gradient_func=saver)


@pytest.mark.parametrize(
    "edit", [call_the_saver, call_the_saver_by_its_interface, call_the_saver_as_a_gradient]
)
def test_the_saver_is_called_by_nothing_else(edit, tmp_path):
    path = edited(saved(tmp_path / "saved", ordinary), edit)
    with pytest.raises(Refused, match="SaveV2"):
        check_operations(str(path))


def add_an_unknown_operation(graph):
    graph.graph_def.node.add(name="other", op="FromAnotherLibrary")


def lose_the_objects(graph):
    """Then TensorFlow would load it as version 1 wrote it, and run what it says on loading."""
    graph.object_graph_def.Clear()


@pytest.mark.parametrize(
    ("edit", "message"),
    [(add_an_unknown_operation, "FromAnotherLibrary"), (lose_the_objects, "as TensorFlow 2")],
)
def test_other_graphs_are_refused(edit, message, tmp_path):
    path = edited(saved(tmp_path / "saved", ordinary), edit)
    with pytest.raises(Refused, match=message):
        check_operations(str(path))


@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_no_graph_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(Refused, match="Expected a SavedModel"):
        check_operations(str(tmp_path))


def test_it_is_not_run(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "saved", write)
    save_arrays(tmp_path / "inputs.npz", {"x": rng.normal(size=3).astype("float32")})
    with pytest.raises(InputError, match="Expected a SavedModel whose operations touch no files"):
        run_artifact("tensorflow", path, tmp_path / "inputs.npz")
    assert not (tmp_path / HARM).exists()
