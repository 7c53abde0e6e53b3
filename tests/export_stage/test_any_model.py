"""Models of every structure, precision and shape are exported, each named and verified."""

from collections import OrderedDict

import keras
import numpy as np
import pytest

from keras_cbam import CBAM
from keras_cbam.errors import InputError
from keras_cbam.export import export_model, verify
from keras_cbam.export.children.arrays import save_arrays
from keras_cbam.export.formats import PRECISIONS
from keras_cbam.export.source.prepare import prepare
from tests.backend import BACKEND, quick
from tests.drawn import vary

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


def features(inputs, filters=8, **options):
    x = keras.layers.Conv2D(filters, 3, strides=2, **options)(inputs)
    x = CBAM(4, **options)(keras.layers.BatchNormalization(**options)(x))
    return keras.layers.GlobalAveragePooling2D(**options)(x)


def two_inputs():
    left, right = keras.Input((16, 16, 3), name="left"), keras.Input((12,), name="right")
    both = keras.layers.Concatenate()([features(left), keras.layers.Dense(4)(right)])
    return keras.Model([left, right], keras.layers.Dense(3, name="scores")(both))


def three_outputs():
    image = keras.Input((16, 16, 3))
    x = features(image)
    return keras.Model(image, [keras.layers.Dense(n, name=f"head{n}")(x) for n in (1, 2, 3)])


def unsorted_inputs():
    """Whose order is not that of their names, which TFLite goes by."""
    image, vector = keras.Input((8, 8, 3), name="zimage"), keras.Input((6,), name="avector")
    both = keras.layers.Concatenate()([features(image), keras.layers.Dense(4)(vector)])
    return keras.Model([image, vector], keras.layers.Dense(3, name="scores")(both))


def ordered_dictionary():
    image = keras.Input((16, 16, 3), name="image")
    x = features(image)
    outputs = {"z": keras.layers.Dense(2)(x), "a": keras.layers.Dense(3)(x)}
    return keras.Model(image, OrderedDict(outputs))


def sequential():
    return keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, name="scores")]
    )


def dictionaries():
    inputs = {"b": keras.Input((16, 16, 3), name="b"), "a": keras.Input((6,), name="a")}
    x = keras.layers.Concatenate()([features(inputs["b"]), inputs["a"]])
    outputs = {"z": keras.layers.Dense(2)(x), "y": {"w": keras.layers.Dense(3)(x)}}
    return keras.Model(inputs, outputs)


def half_precision():
    policy = keras.DTypePolicy("mixed_float16")
    image = keras.Input((16, 16, 3), name="image")
    x = features(image, dtype=policy)
    return keras.Model(image, keras.layers.Dense(3, dtype=policy, name="scores")(x))


def free_sizes():
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, keras.layers.Dense(3, name="scores")(features(image)))


def twice_the_same():
    image = keras.Input((16, 16, 3), name="image")
    scores = keras.layers.Dense(3, name="scores")(features(image))
    return keras.Model(image, [scores, scores])


class NoGraph(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution = keras.layers.Conv2D(4, 3, activation="relu")
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(keras.ops.mean(self.convolution(inputs), (1, 2)))


MODELS = {
    # the builder, and the names of inputs and outputs that the artifacts have
    "two inputs": (two_inputs, ["left", "right"], ["scores"]),
    "three outputs": (three_outputs, ["input"], ["head1", "head2", "head3"]),
    "dictionaries": (dictionaries, ["a", "b"], ["y_w", "z"]),
    "mixed_float16": (half_precision, ["image"], ["scores"]),
    "free sizes": (free_sizes, ["image"], ["scores"]),
    "unsorted inputs": (unsorted_inputs, ["zimage", "avector"], ["scores"]),
    "ordered dictionary": (ordered_dictionary, ["image"], ["z", "a"]),
    "Sequential": (sequential, ["input"], ["scores"]),
    "twice the same": (twice_the_same, ["image"], ["scores", "scores_1"]),
}


# Of outputs that could be mistaken for each other.
SHAPES = {"z": 2, "a": 3, "y_w": 3}


@pytest.mark.parametrize("name", quick(MODELS, {"dictionaries"}))
def test_a_model_is_exported_and_verified(name, tmp_path):
    build, inputs, outputs = MODELS[name]
    report = export_model(vary(build()), tmp_path)
    assert [each["name"] for each in report.inputs] == inputs
    assert [each["name"] for each in report.outputs] == outputs
    assert report.verified
    assert report.spread > 0.01
    for artifact in report.artifacts:
        assert [parity.output for parity in artifact.parity] == outputs
    assert any("drawn at random" in warning for warning in report.warnings)
    for each in report.outputs:
        assert each["shape"][1] == SHAPES.get(each["name"], each["shape"][1])


@pytest.mark.parametrize(
    ("build", "precisions"),
    [
        (unsorted_inputs, ("int8",)),
        pytest.param(unsorted_inputs, PRECISIONS, marks=pytest.mark.slow),
        pytest.param(sequential, PRECISIONS, marks=pytest.mark.slow),
    ],
)
def test_every_precision_of_it(build, precisions, tmp_path, rng):
    model = vary(build())
    data = {
        name: rng.uniform(-1, 1, (40, *tensor.shape[1:])).astype("float32")
        for name, tensor in zip(prepare(model).inputs, model.inputs, strict=True)
    }
    data = dict(reversed(data.items()))  # by name, so the order does not matter
    report = export_model(
        model,
        tmp_path,
        precisions=precisions,
        representative_dataset=data,
        verification_data=data,
        on_mismatch="report",
    )
    for artifact in report.artifacts:
        assert artifact.parity[0].sqnr is None or artifact.parity[0].sqnr > 20, artifact.name
    assert verify(tmp_path).missed == report.missed


def test_no_convolution_has_a_bias_to_correct(tmp_path, rng):
    vectors = rng.uniform(-1, 1, (40, 6)).astype("float32")
    inputs = keras.Input((6,), name="file")
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(8)(inputs)))
    report = export_model(
        model,
        tmp_path,
        formats=["onnx"],
        precisions=["int8"],
        representative_dataset=vectors,
        verification_data=vectors,
        on_mismatch="report",
    )
    assert report.inputs[0]["name"] == "file"
    assert report.artifacts[0].parity[0].sqnr > 20


def test_half_precision_is_rebuilt_in_float32_and_the_callers_stays():
    model = half_precision()
    prepared = prepare(model)
    assert {layer.compute_dtype for layer in prepared.model.layers} == {"float32"}
    assert "float16" in {layer.compute_dtype for layer in model.layers}
    assert any("exported in float32" in note for note in prepared.notes)
    for ours, theirs in zip(prepared.model.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_free_sizes_are_free_in_the_artifacts(tmp_path):
    """Another size than the one that was verified gives Keras's answers too."""
    from keras_cbam.export.runtimes.table import run_artifact

    model = vary(free_sizes())
    report = export_model(model, tmp_path, formats=["tflite", "onnx"])
    image = np.random.default_rng(0).uniform(0, 255, (3, 40, 24, 3)).astype("float32")
    save_arrays(tmp_path / "other.npz", {"image": image})
    expected = model.predict(image, verbose=0)
    for artifact in report.artifacts:
        path = tmp_path / artifact.name
        found, _ = run_artifact(artifact.runtime, path, tmp_path / "other.npz")
        error = np.abs(found["scores"] - expected).max()
        assert error < 1e-4 * max(1, np.abs(expected).max())


def test_a_model_without_a_graph_is_wrapped(tmp_path, rng):
    images = rng.uniform(0, 1, (20, 12, 12, 3)).astype("float32")
    report = export_model(NoGraph(), tmp_path, formats="tflite", verification_data=images)
    assert report.verified
    assert report.inputs[0]["shape"] == [None, 12, 12, 3]


def test_integers_are_exported(tmp_path):
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(300, 4)(tokens)
    model = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    report = export_model(model, tmp_path, formats=["tflite", "onnx"])
    assert report.verified
    assert report.inputs[0]["dtype"] == "int32"


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda x: keras.ops.fft2((x, x))[0],
            "TF Select ops: Complex, FFT2D. Leave the format",
        ),
        (
            lambda x: keras.ops.erfinv(x / 256),
            "Custom ops: Erfinv. Leave the format",
        ),
    ],
)
def test_operations_that_tflite_has_not(build, expected, tmp_path):
    image = keras.Input((8, 8), name="image")
    model = keras.Model(image, build(image))
    with pytest.raises(InputError, match=expected):
        export_model(model, tmp_path / "out", formats=["tflite"])
    assert list(tmp_path.iterdir()) == []


def test_operations_that_onnx_has_not(tmp_path):
    image = keras.Input((8, 8), name="image")
    model = keras.Model(image, keras.ops.erfinv(image / 256))
    with pytest.raises(InputError, match="cannot convert the operations Erfinv"):
        export_model(model, tmp_path / "out", formats=["onnx"])
    assert list(tmp_path.iterdir()) == []
