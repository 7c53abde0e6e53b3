"""Outputs are compared as fits what they are: classes, decisions or values."""

import json
import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_cbam.errors import InputError
from keras_cbam.export import VerificationError, export_model, verify
from keras_cbam.export.formats import FLOAT, INTEGER
from keras_cbam.export.proof.judging import CLASSES, THRESHOLD, VALUES, judges
from keras_cbam.export.proof.manifest import MANIFEST
from keras_cbam.export.proof.parity import Parity, compare, eased
from keras_cbam.outputs import ends_in_sigmoid
from tests.backend import BACKEND
from tests.cli.running import run_here
from tests.drawn import vary

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


def judged(model, **options):
    x = np.random.default_rng(0).normal(size=(8, *model.inputs[0].shape[1:]))
    answers = dict(zip(model.output_names, keras.tree.flatten(model.predict(x)), strict=True))
    outputs = dict(zip(model.output_names, model.outputs, strict=True))
    return list(judges(outputs, answers, **options).values())


def ending(*tail):
    x = keras.Input((4,))
    y = x
    for layer in tail:
        y = layer(y)
    return keras.Model(x, y)


OUTPUTS = {
    "softmax": ((layers.Dense(3, "softmax"),), CLASSES),
    "softmax of an operation": ((layers.Dense(3), ops.softmax), CLASSES),
    "softmax in float32 again": (
        (layers.Dense(3, "softmax"), layers.Activation("linear")),
        CLASSES,
    ),
    "whole numbers": ((layers.Dense(3), lambda x: ops.argmax(x, axis=-1)), CLASSES),
    "one sigmoid": ((layers.Dense(1, "sigmoid"),), THRESHOLD),
    "sigmoids": ((layers.Dense(3, "sigmoid"),), THRESHOLD),
    "sigmoids as a map": ((layers.Dense(4, ops.sigmoid), layers.Reshape((2, 2))), THRESHOLD),
    "a sigmoid layer": ((layers.Dense(1), layers.Activation("sigmoid")), THRESHOLD),
    "sigmoids in a model": ((keras.Sequential([layers.Dense(3, "sigmoid")]),), THRESHOLD),
    "coordinates": ((layers.Dense(2),), VALUES),
    "one value": ((layers.Dense(1),), VALUES),
    "half a sigmoid": ((layers.Dense(1, "sigmoid"), lambda x: x * 0.5), VALUES),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_the_judge_fits_the_output(case):
    tail, expected = OUTPUTS[case]
    assert judged(ending(*tail)) == [expected]


def test_the_call_that_makes_the_output_counts():
    x = keras.Input((4,))
    flatten = layers.Flatten()
    y = [flatten(layers.Dense(3, "sigmoid")(x)), flatten(layers.Dense(3)(x))]
    assert list(map(ends_in_sigmoid, y)) == [True, False]
    assert not ends_in_sigmoid(layers.Concatenate()(y))
    assert ends_in_sigmoid(layers.Concatenate()([y[0], y[0]]))


def test_names_of_classes_and_what_is_given_go_first():
    scores = ending(layers.Dense(3))
    assert judged(scores, named=True) == judged(scores, known=True) == [CLASSES]
    assert judged(ending(layers.Dense(3, "sigmoid")), known=True) == [CLASSES]
    assert judged(ending(layers.Dense(1)), named=True) == [VALUES]
    x = keras.Input((4,))
    both = keras.Model(x, [layers.Dense(3, name="a")(x), layers.Dense(3, name="b")(x)])
    assert judged(both, named=True) == [CLASSES, VALUES]
    assert judged(both, given="threshold") == [THRESHOLD, THRESHOLD]
    assert judged(both, given={"b": "classes"}) == [VALUES, CLASSES]
    for given, message in (
        ("top-1", "Expected judge as one of classes, threshold, values. Received: top-1"),
        ({"c": "values"}, "Expected judge for outputs of a, b. Received: c"),
    ):
        with pytest.raises(InputError, match=message):
            judged(both, given=given)
    with pytest.raises(InputError, match=r"several values.* of shape \(None, 1\)"):
        judged(ending(layers.Dense(1)), given="classes")


COMPARED = {
    # One of three columns varies little, and a tenth of the others' range is much for it.
    "values": (
        VALUES,
        [[0, 0, 1], [5, 1, 1], [10, 2, 1]],
        [[0.9, 0.3, 1], [5, 1, 1], [8, 2, 1]],
        7 / 9,
    ),
    # A place that does not vary, in integers of the whole output's range.
    "values that stay": (VALUES, [[0, 5], [1, 5], [9, 5]], [[0, 5.08], [1, 5.08], [9, 5.1]], 5 / 6),
    "one value an input": (VALUES, [0, 5, 10], [0.9, 5, 8], 2 / 3),
    "decisions": (THRESHOLD, [[0.1, 0.6], [0.9, 0.4]], [[0.4, 0.4], [0.5, 0.6]], 2 / 4),
    "one that Keras leaves open": (THRESHOLD, [[0.1], [0.50001], [0.9]], [[0.2], [0.4], [0.8]], 1),
    "places": (CLASSES, [[0.1, 0.9], [0.7, 0.3]], [[0.2, 0.8], [0.4, 0.6]], 1 / 2),
    # What is ruled out by a large number does not blur the rest.
    "places beside none": (
        CLASSES,
        [[3, 1, -1e9], [1, 3, -1e9]],
        [[2, 1, -1e9], [2, 1, -1e9]],
        1 / 2,
    ),
    "places beside a large one": (CLASSES, [[1e5, 0], [3, 1]], [[1e5, 0], [1, 3]], 1 / 2),
    "a place of small range": (VALUES, [[0, 0], [640, 1]], [[0, 1], [640, 0]], 1 / 2),
    "places that Keras leaves open": (CLASSES, [[0, 1.00001], [1, 0.99999]], [[0, 1], [0, 1]], 1),
}


@pytest.mark.parametrize("case", COMPARED)
def test_agreement(case):
    judge, expected, found, agreement = COMPARED[case]
    answers = {"y": np.array(expected, "float64")}
    (parity,) = compare({"y": np.array(found, "float64")}, answers, None, {"y": judge})
    assert parity.agreement == pytest.approx(agreement)
    assert parity.judge == judge


def test_rare_decisions_are_not_lost():
    """One in a hundred is a yes, so that a file that never says yes agrees on 99 %."""
    expected = np.full((200, 100), 0.01)
    expected[np.arange(200), np.arange(200) % 100] = 0.95
    (parity,) = compare({"y": 0 * expected}, {"y": expected}, None, {"y": THRESHOLD})
    assert parity.agreement == 0.99
    assert parity.misses(INTEGER) == ["y: SQNR 0, expected >= 20"]
    never = np.full((200, 1), 0.004)
    for found, answers in ((0.97 * expected, expected), (0 * never, never)):
        (parity,) = compare({"y": found}, {"y": answers}, None, {"y": THRESHOLD})
        assert parity.misses(INTEGER) == []


def test_no_more_is_asked_than_what_was_had():
    had = Parity("y", 0.5, 0.1, 0.5, 12.0, 0.9, judge=VALUES)
    assert eased(INTEGER, had, 0.01, 3.0) == replace(INTEGER, agreement=0.89, sqnr=9.0)
    better = replace(had, agreement=1.0, sqnr=None)
    assert eased(INTEGER, better, 0.01, 3.0) == INTEGER
    assert eased(FLOAT, had, 0.0, 0.1) == replace(FLOAT, agreement=0.9)


def test_whole_numbers_agree_where_they_are_the_same():
    expected, found = np.array([3, 4, 500]), np.array([3, 5, 500])
    (parity,) = compare({"y": found}, {"y": expected}, None, {"y": CLASSES})
    assert parity.agreement == pytest.approx(2 / 3)


@pytest.fixture(scope="module")
def pictures():
    colors = np.random.default_rng(1).uniform(0, 255, (220, 1, 1, 3))
    return np.broadcast_to(colors, (220, 16, 16, 3)).astype("float32")


def small(*heads):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = [head(x) for head in heads]
    return vary(keras.Model(image, outputs if len(outputs) > 1 else outputs[0]))


def test_coordinates_are_exported(pictures, tmp_path):
    """Which of two coordinates is larger says nothing of a file."""
    model = small(layers.Dense(2, name="point"))
    options = {"representative_dataset": pictures[:100], "verification_data": pictures}
    report = export_model(model, tmp_path / "out", formats=["tflite", "onnx"], **options)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert manifest["outputs"] == [{"name": "point", "shape": [None, 2], "judge": "values"}]
    assert {parity.judge for each in report.artifacts for parity in each.parity} == {"values"}
    assert report.verified
    assert verify(tmp_path / "out").verified
    # As an older version wrote it: of two values the larger had to be the same.
    del manifest["outputs"][0]["judge"]
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(manifest))
    (parity,) = verify(tmp_path / "out", runtimes=()).artifacts[0].parity
    assert parity.judge == CLASSES
    manifest["outputs"][0]["judge"] = "taste"
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        InputError, match=r"one of classes, threshold, values for point .* Received: 'taste'"
    ):
        verify(tmp_path / "out")


def test_noise_in_values_is_seen(pictures, tmp_path, monkeypatch):
    """A file whose values are a fifth too large has the same places and sides, but not values."""
    model = small(layers.Dense(2, name="point"))
    off = small(layers.Dense(2, name="point"))
    *body, kernel, bias = model.get_weights()
    off.set_weights([*body, 1.2 * kernel, 1.2 * bias])
    monkeypatch.setattr(
        "keras_cbam.export.source.prepare.Prepared.answers",
        lambda self, inputs: {"point": off.predict(inputs[0], verbose=0)},
    )
    options = {"precisions": ["dynamic"], "verification_data": pictures, "formats": ["tflite"]}
    missed = r"point: SQNR 1\d\..*, expected >= 20\. If these are scores of classes, give judge"
    with pytest.raises(VerificationError, match=missed):
        export_model(model, tmp_path / "out", **options)
    assert export_model(model, tmp_path / "out", judge="classes", **options).verified


def test_one_sigmoid_has_two_labels(pictures, tmp_path):
    model = small(layers.Dense(1, "sigmoid", name="dog"))
    model.save(tmp_path / "model.keras")
    said = model.predict(pictures, verbose=0)[:, 0]
    truth = (said >= np.median(said)).astype(int)
    options = {"formats": ["tflite"], "precisions": ["float32"]}
    report = export_model(
        model,
        tmp_path / "out",
        labels=["cat", "dog"],
        verification_data=(pictures, truth),
        **options,
    )
    assert report.accuracy == pytest.approx(np.mean((said >= 0.5) == truth))
    assert report.artifacts[0].parity[0].accuracy == report.accuracy
    assert report.outputs[0]["judge"] == "threshold"
    assert report.labels == ("cat", "dog")
    with zipfile.ZipFile(tmp_path / "out" / "model_float32.tflite") as archive:
        # The file has one score, which needs one label.
        assert archive.read("labels.txt") == b"dog\n"
    with pytest.raises(InputError, match=r"Expected 1 or 2 labels, one per class\. Received: 3"):
        export_model(model, tmp_path / "three", labels=list("abc"), **options)


def test_judge_on_the_command_line(pictures, tmp_path):
    small(layers.Dense(2, name="a"), layers.Dense(3, name="b")).save(tmp_path / "model.keras")
    options = [tmp_path / "model.keras", "--output", tmp_path / "out", "--formats", "onnx"]
    done = run_here("export", *options, "--judge", "b=classes,a=values")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out" / MANIFEST).read_text())["outputs"]
    assert [each["judge"] for each in told] == ["values", "classes"]
    for given in ("b=", "=classes", "taste", "c=values"):
        done = run_here("export", *options, "--judge", given)
        assert done.returncode == 2, given
        assert "Expected judge" in done.stderr, given
