"""A `.keras` file that somebody else made takes no more memory than a model does."""

import io
import json
import struct
import zipfile

import keras
import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.model_file import load_model
from tests.backend import BACKEND

h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="archives are the same everywhere")

LARGE = 100 * 2**20


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """What is in the file of a small model."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def weights(entries, **options):
    """The weights with another data set among them."""
    file = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(file, "a") as opened:
        opened.create_dataset("layers/dense/vars/9", dtype="float32", **options)
    return {**entries, "model.weights.h5": file.getvalue()}


def of_input(entries, *shape):
    config = json.loads(entries["config.json"])
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, *shape]
    return {**entries, "config.json": json.dumps(config).encode()}


def without_input_layer(entries, *shape):
    """A Sequential that knows the shape of its input from how it was built."""
    config = json.loads(entries["config.json"])
    layers = [each for each in config["config"]["layers"] if each["class_name"] == "Dense"]
    for layer in layers:
        layer.pop("inbound_nodes", None)
    sequential = {"name": "s", "layers": layers, "build_input_shape": [None, *shape]}
    config = {**config, "class_name": "Sequential", "config": sequential}
    config.pop("registered_name", None)
    return {**entries, "config.json": json.dumps(config).encode()}


def larger_than_said(path, entries):
    """Its headers say that the zeros are ten bytes."""
    written(path, {**entries, "zeros": bytes(LARGE)})
    content = path.read_bytes()
    said = struct.pack("<I", LARGE)
    assert content.count(said) == 2
    path.write_bytes(content.replace(said, struct.pack("<I", 10)))


FILES = {
    "zeros in the archive": (
        lambda path, x: written(path, {**x, "assets/zeros": bytes(LARGE)}),
        r"unpacks to at most 64 MiB. Received: .*model.keras, of 100 MiB",
    ),
    "a size that is not told": (larger_than_said, "'zeros' has another size than it says"),
    "zeros in the weights": (
        lambda path, x: written(
            path, weights(x, data=np.zeros(LARGE // 4), compression="gzip"), zipfile.ZIP_STORED
        ),
        "unpacks to at most 64 MiB. Received: .*, of 100 MiB",
    ),
    "nothing but a shape in the weights": (
        lambda path, x: written(path, weights(x, shape=(2**20, 2**20), chunks=(8, 8))),
        "unpacks to at most 64 MiB",
    ),
    "20000 x 20000": (
        lambda path, x: written(path, of_input(x, 20000, 20000, 3)),
        r"inputs have at most 268,435,456 values. Received: \[None, 20000, 20000, 3\]",
    ),
    "20000 x 20000, without an input": (
        lambda path, x: written(path, without_input_layer(x, 20000, 20000, 3)),
        r"inputs have at most 268,435,456 values. Received: \[None, 20000, 20000, 3\]",
    ),
    "0 x 0": (
        lambda path, x: written(path, of_input(x, 0, 0, 3)),
        r"inputs have sizes above 0. Received: \[None, 0, 0, 3\]",
    ),
    "another method": (
        lambda path, x: written(path, x, zipfile.ZIP_LZMA),
        "compressed in another way than deflate",
    ),
    "no weights": (
        lambda path, x: written(path, {"config.json": x["config.json"]}),
        "Expected model.weights.h5 in a .keras file",
    ),
    "brackets": (
        lambda path, x: written(path, {**x, "config.json": b"[" * 200_000}),
        "is not a Keras model that can be loaded: maximum recursion depth",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_what_takes_too_much_is_refused(case, entries, tmp_path):
    write, message = FILES[case]
    write(tmp_path / "model.keras", entries)
    with pytest.raises(InputError, match=message):
        load_model(tmp_path / "model.keras")


def test_what_was_packed_again_is_loaded(entries, tmp_path):
    assert load_model(written(tmp_path / "model.keras", entries)).count_params() == 10


def test_what_would_run_code_is_refused_with_a_way_out(tmp_path):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x)(inputs))
    model.save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="has a Lambda layer, whose code is not run"):
        load_model(tmp_path / "model.keras")
    for name in ("model.h5", "model"):
        (tmp_path / name).write_bytes(b"\x89HDF")
        with pytest.raises(InputError, match=r"save the model again, as model.save\('model.keras'"):
            load_model(tmp_path / name)


def test_an_archive_of_several_disks_is_refused(entries, tmp_path):
    path = written(tmp_path / "model.keras", entries)
    # Its end in 64 bits, which names a second disk.
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 2)
    content = path.read_bytes()
    path.write_bytes(content[:-22] + locator + content[-22:])
    with pytest.raises(InputError, match="Received a file that is not one"):
        load_model(path)
