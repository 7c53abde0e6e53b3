"""Data in every form, drawn inputs, and preprocessing inside and outside."""

from dataclasses import fields

import keras
import numpy as np
import pytest

from keras_cbam.config.export import ExportOptions
from keras_cbam.errors import InputError
from keras_cbam.export import export_model, verify
from keras_cbam.export.formats import ARTIFACTS
from keras_cbam.export.proof.warnings import calibration_warnings
from keras_cbam.export.request import check_options
from keras_cbam.export.source.datasets import check_arrays, raw_arrays
from keras_cbam.export.source.prepare import prepare
from keras_cbam.export.source.preprocessing import with_preprocessing
from keras_cbam.export.source.random_inputs import draw_inputs
from keras_cbam.pixels import preprocessed
from tests.backend import BACKEND
from tests.drawn import vary

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")

PIXELS = np.arange(5 * 4 * 4 * 3, dtype="float32").reshape(5, 4, 4, 3)


def small():
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    return vary(keras.Model(image, keras.layers.GlobalMaxPooling2D(name="y")(x)))


def forms():
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices(PIXELS).batch(2)
    return {
        "array": PIXELS,
        "list": [PIXELS],
        "dictionary": {"image": PIXELS},
        "dataset": batches,
        "dataset of dictionaries": batches.map(lambda image: {"image": image}),
        "the converter's function": lambda: ([image[None]] for image in PIXELS),
        "generator": (image[None] for image in PIXELS),
    }


@pytest.mark.parametrize("form", forms() if BACKEND == "tensorflow" else [])
def test_forms_of_data(form):
    (found,) = raw_arrays(forms()[form], "verification_data", ["image"], None)
    assert np.array_equal(found, PIXELS)


def test_batches_are_read_up_to_the_limit():
    def endless():
        while True:
            yield PIXELS

    (found,) = raw_arrays(endless, "representative_dataset", None, None, 12)
    assert found.shape == (12, 4, 4, 3)


def test_a_folder_is_read_at_the_models_size(image_folder):
    (found,) = raw_arrays(image_folder, "verification_data", None, (20, 30))
    assert found.shape == (24, 20, 30, 3)
    assert found.max() > 150
    with pytest.raises(InputError, match="without a fixed image size"):
        raw_arrays(image_folder, "verification_data", None, (None, None))
    (image_folder / "red" / "1.jpg").rename(image_folder / "none")
    with pytest.raises(InputError, match="folder of images"):
        raw_arrays(image_folder / "none", "verification_data", None, (20, 30))


def test_images_of_a_folder_are_those_of_the_command_line(image_folder, rng):
    """The same suffixes, the same pixels, and what cannot be decoded is named and counted."""
    from PIL import Image

    from keras_cbam.cli.model_images import verification_pixels

    red = image_folder / "red"
    (red / "0.jpg").write_bytes((red / "0.jpg").read_bytes()[:300])
    (red / "1.heic").write_bytes(b"")
    for name in ("wide.webp", "tall.tiff"):
        pixels = rng.integers(0, 256, (30, 50, 3) if name[0] == "w" else (50, 30, 3))
        Image.fromarray(pixels.astype("uint8")).save(red / name)
    with pytest.warns(UserWarning, match=r"verification_data: .* Left out: 2, such as .*1\.heic"):
        (found,) = raw_arrays(image_folder, "verification_data", None, (20, 20))
    model = keras.Sequential([keras.Input((20, 20, 3)), keras.layers.Flatten()])
    shown, _ = verification_pixels(image_folder, model, None)
    assert found.shape == (25, 20, 20, 3)
    assert sorted(map(bytes, found)) == sorted(map(bytes, shown))


def test_a_folder_is_read_up_to_the_limit(image_folder):
    (found,) = raw_arrays(image_folder, "representative_dataset", None, (20, 30), 5)
    assert found.shape == (5, 20, 30, 3)


def test_a_crop_of_a_folder_has_the_shape_of_the_model(tmp_path):
    """An input of 20 x 20 takes 40 x 40 of 40 x 60 pixels, one of 10 x 20 takes 30 x 60."""
    from PIL import Image

    pixels = np.zeros((40, 60, 3), "uint8")
    pixels[5:35] = 100
    pixels[5:35, 10:50] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (wide,) = raw_arrays(tmp_path, "verification_data", None, (10, 20))
    assert wide.min() > 80
    assert (wide[0, 1:-1, 4:-4] == 200).all()
    (square,) = raw_arrays(tmp_path, "verification_data", None, (20, 20))
    assert (square[0, 4:-4, 1:-1] == 200).all()
    assert (square[0, 0] == 0).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "an array for each input. Received: <class 'int'>"),
        ([], "1 arrays of one length"),
        ([[np.zeros((1, 2)), np.zeros((1, 2))], [np.zeros((1, 2))]], "batches of one structure"),
        ([[1.0, 2.0], [3.0, 4.0]], "batches of arrays"),
        ([[PIXELS], [PIXELS[:, 1:]]], "batches of one shape"),
        ({"picture": PIXELS}, r"by names \['image'\]. Received: \['picture'\]"),
        ([PIXELS, PIXELS], "1 arrays of one length"),
        (PIXELS[:0], "at least one input"),
        (PIXELS[..., :2], r"shape \(None, 4, 4, 3\). Received: \(5, 4, 4, 2\)"),
    ],
)
def test_data_that_does_not_fit(data, message):
    with pytest.raises(InputError, match=message):
        check_arrays(
            raw_arrays(data, "verification_data", ["image"], None) or [],
            [keras.Input((4, 4, 3))],
            "verification_data",
        )


def test_inputs_are_drawn_in_the_range_that_makes_outputs_vary():
    seen = []

    def spread(inputs):
        seen.append((float(inputs[0].min()), float(inputs[0].max())))
        return 1.0 if inputs[0].max() <= 1 else 0.0

    (found,) = draw_inputs([keras.Input((8, None, 3))], spread, 0.5)
    assert found.shape == (200, 8, 64, 3)
    assert len(seen) == 2
    assert -1 <= found.min() < -0.9
    assert 0.9 < found.max() <= 1
    with pytest.raises(InputError, match=r"an input that is not numeric. Received: string"):
        draw_inputs([keras.Input((2,), dtype="string")], spread, 0.5)


def test_on_drawn_inputs_float32_alone_is_judged(tmp_path):
    written = export_model(small(), tmp_path, formats="tflite", precisions=["float32", "float16"])
    for report in (written, verify(tmp_path)):
        assert [each.verdict for each in report.artifacts] == ["verified", "not judged"]
        assert report.missed == ()
        assert not report.verified


def test_few_calibration_inputs_warn():
    assert calibration_warnings(None) == calibration_warnings([np.zeros((100, 1))]) == ()
    assert "calibrated on 99 inputs" in calibration_warnings([np.zeros((99, 1))])[0]


@pytest.mark.parametrize("rule", ["caffe", "torch", "tf"])
def test_preprocessing_inside_takes_pixels(rule, rng):
    image = keras.Input((6, 6, 3), name="image")
    features = keras.layers.Conv2D(4, 3, padding="same")(image)
    model = vary(keras.Model(image, keras.layers.GlobalAveragePooling2D(name="y")(features)))
    pixels = rng.uniform(0, 255, (5, 6, 6, 3)).astype("float32")
    inside, record = with_preprocessing(prepare(model), rule, True)
    outside, told = with_preprocessing(prepare(model), rule, False)
    assert inside.inputs == outside.inputs == ("image",)
    assert record["takes"] == "RGB in 0..255"
    assert told["takes"] == "preprocessed values"
    assert told["scale"] == record["scale"]
    expected = outside.answers([preprocessed(pixels, rule)])["y"]
    found = inside.answers([pixels])["y"]
    assert np.ptp(expected, axis=0).min() > 0.01
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_preprocessing_is_exported_and_recorded(tmp_path):
    report = export_model(small(), tmp_path, formats="tflite", preprocessing="ResNet50")
    assert report.verified
    assert report.preprocessing["rule"] == "ResNet50"
    assert report.preprocessing["reverse_channels"]
    assert report.inputs[0]["range"][1] > 200
    vector = keras.Input((3,))
    other = keras.Model(vector, keras.layers.Dense(2)(vector))
    with pytest.raises(InputError, match="a model of one RGB image"):
        export_model(other, tmp_path, preprocessing="tf")


def test_fewer_large_inputs_are_drawn(monkeypatch):
    monkeypatch.setattr("keras_cbam.export.source.random_inputs.LARGEST", 5 * 8 * 8 * 3)
    (found,) = draw_inputs([keras.Input((8, 8, 3))], lambda inputs: 1.0, 0.5)
    assert found.shape == (5, 8, 8, 3)


@pytest.mark.parametrize("size", [0, 20000])
def test_inputs_of_no_size_and_of_too_much_are_refused(size, tmp_path):
    image = keras.Input((size, size, 3))
    model = keras.Model(image, 2 * image)
    with pytest.raises(InputError, match=r"Expected a model whose inputs have .*Received: \(None"):
        export_model(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# A value of each option that is not its default.
OPTIONS = {
    "opset": 15,
    "integer_io": "float32",
    "batch_size": 3,
    "float_layers": ("conv",),
    "jpeg_signature": True,
    "target": "generic",
}


@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: artifact.name)
@pytest.mark.parametrize("option", OPTIONS)
def test_options_are_of_the_artifacts_that_have_them(artifact, option):
    given = {option: OPTIONS[option]}
    if option == "float_layers" and "integer_io" in artifact.options:
        given["integer_io"] = "float32"
    options = ExportOptions(**given)
    if option in artifact.options:
        check_options(options, [artifact], outside=False)
    else:
        with pytest.raises(InputError, match=f"the option {option}: .* for {artifact.name}"):
            check_options(options, [artifact], outside=False)


def test_every_option_is_of_an_artifact():
    assert set(OPTIONS) == {field.name for field in fields(ExportOptions)}
    assert set(OPTIONS) == {option for artifact in ARTIFACTS for option in artifact.options}


def test_options_that_contradict_others():
    def refuse(match, formats, outside=False, **given):
        chosen = [each for each in ARTIFACTS if each.format in formats]
        with pytest.raises(InputError, match=match):
            check_options(ExportOptions(**given), chosen, outside)

    refuse("the format tflite with target npu", ["onnx"], target="npu")
    refuse("integer_io='float32' with float_layers", ["tflite"], float_layers=("conv",))
    refuse("preprocessing inside", ["saved_model"], outside=True, jpeg_signature=True)
