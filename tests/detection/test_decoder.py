"""Boxes out of raw outputs: worked by hand, and those of KerasHub."""

import numpy as np
import pytest

from keras_cbam.detection import Detections, Predictor, decode
from keras_cbam.detection.decoder import overlaps, suppress, to_boxes
from keras_cbam.detection.letterbox import letterbox, letterboxed
from keras_cbam.detection.matching import match
from tests.backend import BACKEND
from tests.detection.conftest import SIZE

pytest.importorskip("keras_hub", reason="needs the extra `detection`")

ANCHORS = np.array([[0, 0, 10, 10], [0, 0, 10, 20], [20, 20, 40, 40]], "float32")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
def test_boxes_worked_by_hand():
    deltas = np.array(
        [[0.5, -0.2, 0, np.log(2)], [0, 0, 0, 0], [0, 0, np.log(0.5), 100.0]], "float32"
    )
    boxes = to_boxes(deltas, ANCHORS)
    # Center (5, 5) moved by half of 10 and by -0.2 of 10; twice as high.
    np.testing.assert_allclose(boxes[0], [5, -7, 15, 13], atol=1e-5)
    np.testing.assert_allclose(boxes[1], ANCHORS[1])
    # Half as wide; as high as may be.
    np.testing.assert_allclose(boxes[2], [25, 30 - 625, 35, 30 + 625], rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
def test_the_surest_of_boxes_that_overlap_is_kept():
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [0, 5, 10, 15], [50, 50, 60, 60], [0, 0, 10, 10]], "float32"
    )
    np.testing.assert_allclose(overlaps(boxes[:1], boxes)[0], [1, 0.9, 1 / 3, 0, 1], rtol=1e-6)
    assert suppress(boxes, 0.5, 100).tolist() == [0, 2, 3]
    assert suppress(boxes, 0.3, 100).tolist() == [0, 3]
    assert suppress(boxes, 0.5, 2).tolist() == [0, 2]
    # At the threshold itself they are the same object.
    assert suppress(boxes[:2], float(overlaps(boxes[:1], boxes[1:2])[0, 0]), 9).tolist() == [0]
    logits = np.array([[-9, 3], [2.5, -9], [1, 0]], "float32")
    found = decode(np.zeros((3, 4), "float32"), logits, ANCHORS, height=30, width=30)
    assert found.labels.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp([-3.0, -1.0])), rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [[0, 0, 10, 10], [20, 20, 30, 30]])
    sure = decode(
        np.zeros((3, 4), "float32"), logits, ANCHORS, height=30, width=30, confidence_threshold=0.8
    )
    assert len(sure.scores) == 1


# JAX compiles each operation of the detector, for a minute.
@pytest.mark.backends
@(pytest.mark.slow if BACKEND == "jax" else pytest.mark.backends)
def test_finds_what_keras_hub_finds(detector, found_photographs):
    """Its own decoder, whose boxes reach over the edges, on the same outputs."""
    import keras
    import keras_hub

    predictor = Predictor(detector, batch_size=5)
    found = predictor(found_photographs)
    settings = predictor.decoding
    detector.prediction_decoder = keras_hub.layers.NonMaxSuppression(
        "xyxy",
        from_logits=True,
        iou_threshold=settings.iou_threshold,
        confidence_threshold=settings.confidence_threshold,
        max_detections=settings.max_detections,
    )
    some = found_photographs[:4]
    pixels = np.stack([letterboxed(image, SIZE)[0] for image in some])
    outputs = predictor.heads.predict(pixels, verbose=0)
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in outputs.items()}
    theirs = detector.decode_predictions(tensors, keras.ops.convert_to_tensor(pixels))
    theirs = {name: keras.ops.convert_to_numpy(value) for name, value in theirs.items()}
    counts = [len(each.scores) for each in found]
    assert min(counts) < settings.max_detections
    assert sum(counts[: len(some)]) > 5 * len(some)
    for index, image in enumerate(some):
        count = int(theirs["num_detections"][index])
        ours = found[index]
        assert count == len(ours.scores) > 1
        boxes = letterbox(image.size, SIZE).boxes_out(theirs["boxes"][index, :count])
        np.testing.assert_allclose(ours.boxes, boxes, atol=1e-3)
        np.testing.assert_allclose(
            ours.scores, theirs["confidence"][index, :count], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_array_equal(ours.labels, theirs["labels"][index, :count])


@pytest.mark.skipif(BACKEND != "tensorflow", reason="NumPy alone")
def test_boxes_that_match():
    boxes = np.array([[0, 0, 100, 100], [0, 0, 100, 100], [200, 0, 300, 100]], "float32")
    ours = Detections(boxes, np.array([0.9, 0.8, 0.6], "float32"), np.array([0, 0, 1], "int32"))
    assert match([ours], [ours], threshold=0.5) == (3, 3, 1.0)
    assert match([ours], [ours], threshold=0.7).reference == 2
    # Of 100x100 pixels, half a pixel more is an overlap of 0.995, and 30 more of 0.77.
    lower = np.array([[0, 0, 0, 0.5], [0, 0, 0, 0.5], [0, 0, 0, 30]], "float32")
    moved = ours._replace(boxes=boxes + lower)
    found = match([ours], [moved], threshold=0.5)
    assert (found.reference, found.matched) == (3, 2)
    other = ours._replace(labels=np.array([0, 1, 1], "int32"))
    assert match([ours], [other], threshold=0.5).matched == 2
    nothing = Detections(boxes[:0], ours.scores[:0], ours.labels[:0])
    assert match([nothing], [ours], threshold=0.5).share == 1
    assert match([ours], [nothing], threshold=0.5) == (3, 0, 0.0)
