"""An export that somebody else made: one sentence for what is wrong with it, whatever it is."""

import copy
import hashlib
import io
import json
import os
import zipfile

import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import verify
from keras_cbam.export.publish import check_ours
from keras_cbam.export.timing import time_artifacts
from tests.backend import BACKEND
from tests.cli.running import run_here
from tests.export_stage.handmade import NAME, doubling, shipped

pytest.importorskip("onnx")
pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="files are the same everywhere")


@pytest.fixture
def directory(tmp_path):
    return shipped(tmp_path / "out")


@pytest.fixture
def nothing_runs(monkeypatch):
    """What a file answers is Keras's answer."""

    def run(runtime, artifact, inputs, limits):
        return {"y": 2 * np.load(inputs)["array/x"]}, []

    monkeypatch.setattr("keras_cbam.export.verification.run_artifact", run)


def manifest(directory):
    return json.loads((directory / "manifest.json").read_text())


MANIFESTS = {
    "brackets": (lambda _: "[" * 200_000, "Expected JSON. Received: .*maximum recursion depth"),
    "NaN": (lambda _: "[NaN]", "with NaN, which is no number"),
    "not UTF-8": (lambda _: b"\xff", "Expected JSON. Received: "),
    "a list": (lambda _: [], "Expected the manifest of an export, of layout 2"),
    "a layout": (lambda x: {**x, "layout": [2]}, r"of layout \[2\]"),
    "no artifacts": (
        lambda x: {**x, "artifacts": []},
        r"Expected artifacts in .*, with unique names. Received: \[\]",
    ),
    "one twice": (lambda x: {**x, "artifacts": 2 * x["artifacts"]}, "with unique names"),
    "no inputs": (lambda x: {**x, "inputs": []}, "Expected inputs in"),
    "a field less": (
        lambda x: {k: v for k, v in x.items() if k != "spread"},
        "Expected .*manifest.json to be an object with spread",
    ),
    "a field more": (
        lambda x: {**x, "more": 1},
        r"an object with nothing but .*. Received: \['more'\]",
    ),
    "half a pair": (lambda x: {**x, "warnings": ["\ud800"]}, r"warnings\[0\] to be text"),
    "a large number": (lambda x: {**x, "images": 10**400}, "images to be a whole number"),
    "1e999": (
        lambda x: json.dumps(x).replace('"spread": 1.0', '"spread": 1e999'),
        "with 1e999, which is no number",
    ),
    "a type of objects": (
        lambda x: {**x, "inputs": [{**x["inputs"][0], "dtype": "O"}]},
        "Expected inputs of bool, int8, .* in the manifest. Received: {'x': 'O'}",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifests(case, directory):
    edit, message = MANIFESTS[case]
    content = edit(manifest(directory))
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    (directory / "manifest.json").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    for read in (verify, time_artifacts):
        with pytest.raises(InputError, match=message):
            read(directory)
    (directory / "model_int8.onnx").touch()
    with pytest.raises(InputError, match="is in the way"):
        check_ours(directory, ["model_int8.onnx"])


ODD = (None, True, -1, 2**70, 0.5, "", "x", "\x00", [], [[]], {}, {"name": {}}, [None], ["x", 1])


def places(value, path=()):
    """The place of every value within a value."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def test_any_value_of_a_manifest(directory, nothing_runs):
    """A report that can be shown, or one sentence."""
    whole, shown, said = manifest(directory), 0, []
    for *path, last in filter(None, places(whole)):
        for odd in ODD:
            changed = copy.deepcopy(whole)
            parent = changed
            for key in path:
                parent = parent[key]
            parent[last] = odd
            (directory / "manifest.json").write_text(json.dumps(changed))
            try:
                verify(directory, runtimes=()).markdown()
                shown += 1
            except InputError as error:
                said.append(str(error))
    assert shown > 20
    assert len(said) > 300
    assert all(sentence.startswith("Expected ") for sentence in said)


def reference(**changes):
    """The arrays of a reference, some of them others."""
    inputs = np.zeros((4, 2), "float32")
    arrays = {"input/x": inputs, "output/keras/y": inputs, f"output/{NAME}/y": inputs}
    return {**arrays, **{key.replace("__", "/"): value for key, value in changes.items()}}


def lying(shape, descr="<f4"):
    """A header that says more than follows."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return {"input/x.npy": file.getvalue() + bytes(32)}


def nested(depth):
    """A header whose shape is nested so deep."""
    shape = "(4," * depth + ")" * depth
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = len(header).to_bytes(2, "little")
    return {"input/x.npy": np.lib.format.magic(1, 0) + length + header}


REFERENCES = {
    "strings": (reference(input__x=np.full((4, 2), "x")), "Expected numbers of shapes"),
    "objects": (reference(input__x=np.array([{}], object)), "Expected arrays in .*Received: "),
    "complex": (reference(input__x=np.zeros((4, 2), "complex64")), "Expected numbers"),
    "no inputs": ({"output/keras/y": np.zeros((4, 2))}, "Received: 0 inputs"),
    "no rows": (reference(input__x=np.zeros((0, 2))), "Received: 0 inputs"),
    "other rows": (reference(output__keras__y=np.zeros((3, 2))), "as answers of keras in"),
    "no answers": ({"input/x": np.zeros((4, 2))}, "as answers of keras in .*Received: {}"),
    "one number": (reference(input__x=np.float32(1)), "Received: 0 inputs"),
    "one answer": (reference(output__keras__y=np.float32(1)), "as answers of keras"),
    "other names": (reference(output__keras__z=np.zeros((4, 2))), "as answers of keras"),
    "another artifact's": (reference(output__other__y=np.zeros(4)), "as answers of other"),
    "another size": (reference(input__x=np.zeros((4, 3))), r"Expected numbers of shapes {'x': \[4"),
    "much of it": (
        reference(**{key: np.zeros((2**20, 8)) for key in ("input__x", "output__keras__y")}),
        "unpacks to at most 64 MiB",
    ),
    "a lying header": (lying((2**40, 2)), "Expected arrays in .*Received: input/x.npy of shape"),
    "a negative one": (lying((-4, -2)), "Expected arrays in .*Received: input/x.npy of shape"),
    "no type": (lying((4, 2), "O"), "Expected arrays in .*Received: input/x.npy of shape"),
    "nested brackets": (nested(500), "Received: input/x.npy with a header of nested brackets"),
    "no array": ({"input/x.npy": b"none"}, "Expected arrays in"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_references(case, directory, nothing_runs):
    arrays, message = REFERENCES[case]
    with zipfile.ZipFile(directory / "reference.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, value in arrays.items():
            if isinstance(value, bytes):
                archive.writestr(key, value)
            else:
                with archive.open(f"{key}.npy", "w") as file:
                    np.lib.format.write_array(file, np.asarray(value), allow_pickle=True)
    for read in (verify, time_artifacts):
        with pytest.raises(InputError, match=message):
            read(directory)


def test_an_array_is_no_reference(directory):
    with (directory / "reference.npz").open("wb") as file:
        np.save(file, np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"Expected an archive that unpacks\. Received: "):
        verify(directory)


@pytest.mark.parametrize("command", ["verify", "benchmark"])
@pytest.mark.parametrize("name", ["manifest.json", "reference.npz"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file(name, kind, command, directory):
    """Neither a pipe, which would block for ever, nor what never ends."""
    (directory / name).unlink()
    {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
    }[kind](directory / name)
    done = run_here(command, directory)
    assert done.returncode == 2
    assert "Expected a file. Received: " in " ".join(done.stderr.split())
    if name == "manifest.json":
        with pytest.raises(InputError, match="is in the way"):
            check_ours(directory, [NAME])


def test_benchmark_wants_the_files_that_were_exported(directory):
    (directory / NAME).write_bytes((directory / NAME).read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"model\.onnx cannot be timed: .*its SHA-256 differs"):
        time_artifacts(directory)
    (directory / NAME).unlink()
    with pytest.raises(InputError, match="the file is missing"):
        time_artifacts(directory)


def test_a_file_of_another_size_is_not_read(directory, monkeypatch):
    with (directory / NAME).open("wb") as file:
        file.truncate(2**40)

    def read(*arguments):
        raise AssertionError

    monkeypatch.setattr(hashlib, "sha256", read)
    (missed,) = verify(directory, runtimes=()).missed
    assert "its SHA-256 differs" in missed


def test_answers_that_are_no_numbers(tmp_path):
    from onnx import TensorProto, helper

    model = doubling([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)])
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    (missed,) = verify(shipped(tmp_path / "out", model), runtimes=()).missed
    assert "outputs that are not numeric: {'y': 'object'}" in missed
