"""What artifacts tell of themselves is read by those who read it."""

import json

import numpy as np
import pytest

from keras_cbam.errors import InputError
from keras_cbam.export import export_model
from keras_cbam.export.source.metadata import Metadata
from keras_cbam.export.tflite.graph import Graph
from tests.backend import BACKEND
from tests.export_stage.conftest import LABELS

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="export needs TensorFlow")


@pytest.fixture(scope="module")
def for_mediapipe(network, images, tmp_path_factory):
    """The two files that MediaPipe takes: float32, and int8 with uint8 inputs and outputs."""
    directory = tmp_path_factory.mktemp("mediapipe")
    export_model(
        network,
        directory,
        formats="tflite",
        precisions=["float32", "int8"],
        representative_dataset=images[:100] * 0.9,  # not all of the range is seen
        verification_data=images,
        labels=LABELS,
        integer_io="uint8",
        runtimes=(),
    )
    return directory


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_mediapipe_classifies_as_keras(precision, for_mediapipe, network, images):
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python.vision import ImageClassifier

    pixels = np.rint(images[:100]).astype("uint8")
    expected = network.predict(pixels.astype("float32"), verbose=0).argmax(-1)
    assert len(set(expected)) > 1
    path = str(for_mediapipe / f"model_{precision}.tflite")
    with ImageClassifier.create_from_model_path(path) as classifier:
        for image, index in zip(pixels, expected, strict=True):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            best = classifier.classify(picture).classifications[0].categories[0]
            assert (best.index, best.category_name) == (index, LABELS[index])


def test_integer_inputs_take_pixels_as_they_are(for_mediapipe):
    graph = Graph((for_mediapipe / "model_int8.tflite").read_bytes())
    tensor = graph.inputs[0]
    assert graph.dtype(tensor) == "uint8"
    assert graph.scales(tensor) == pytest.approx(1)
    assert graph.quantize(np.array([0.0, 255.0]), tensor).tolist() == [0, 255]


def test_tflite_metadata_follows_its_schema(for_mediapipe):
    schema = pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")
    model = Graph((for_mediapipe / "model_float32.tflite").read_bytes()).model
    (entry,) = [each for each in model.metadata if each.name == b"TFLITE_METADATA"]
    content = model.buffers[entry.buffer].data.tobytes()
    assert schema.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    found = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(content))
    (graph,) = found.subgraphMetadata
    (image,), (scores,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    assert (image.name, scores.name) == (b"image", b"probabilities")
    assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    assert list(image.processUnits[0].options.mean) == [0, 0, 0]
    assert list(image.processUnits[0].options.std) == [1, 1, 1]
    (labels,) = scores.associatedFiles
    assert labels.name == b"labels.txt"
    assert labels.type == schema.AssociatedFileType.TENSOR_AXIS_LABELS


def test_onnx_and_saved_model_have_labels_and_preprocessing(everything):
    import onnx
    import tensorflow as tf

    directory, _ = everything
    for name in ("model.onnx", "model_float16.onnx", "model_int8.onnx"):
        properties = {p.key: p.value for p in onnx.load(directory / name).metadata_props}
        assert json.loads(properties["labels"]) == LABELS
        assert properties["scores"] == "probabilities"
        assert properties["Image.NominalPixelRange"] == "NominalRange_0_255"
        assert json.loads(properties["preprocessing"])["takes"] == "RGB in 0..255"
    loaded = tf.saved_model.load(directory / "saved_model")
    assert tf.io.read_file(loaded.labels.asset_path).numpy().decode().split() == LABELS
    told = json.loads(tf.io.read_file(loaded.metadata.asset_path).numpy())
    assert told["labels"] == LABELS


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"takes": "RGB in 0..255"}, ((0,) * 3, (1,) * 3)),
        (
            {"takes": "preprocessed values", "scale": (1 / 127.5,) * 3, "offset": (-1.0,) * 3},
            ((127.5,) * 3, (127.5,) * 3),
        ),
        ({"scale": (1.0,) * 3, "offset": (-100.0,) * 3, "reverse_channels": True}, None),
        ({"rule": None}, None),
    ],
)
def test_normalization_is_that_of_the_client(record, expected):
    found = Metadata(preprocessing=record).normalization()
    assert (found is None) == (expected is None)
    if expected is not None:
        assert np.allclose(found, expected)


def test_labels_are_of_one_line(network, images, tmp_path):
    with pytest.raises(InputError, match="labels that are text of one line"):
        export_model(network, tmp_path, verification_data=images, labels=["a\nb", "c", "d", "e"])
