"""Detectors that find something, shared by tests."""

import keras
import numpy as np
import pytest

from keras_cbam.detection import Photograph, Predictor, build_detector
from keras_cbam.detection.letterbox import letterboxed
from tests.detection.data import draw
from tests.drawn import vary
from tests.short_mobilenet import SHORT, short_mobilenet_is_known

SIZE = (64, 96)
CLASSES = ("blue", "red")


def build(attention="cbam", **changes):
    settings = {
        "weights": "none",
        "attention": attention,
        "image_size": SIZE,
        "anchor_size": 2.0,
        "head_layers": 1,
        "options": {"alpha": 0.25},
    }
    with short_mobilenet_is_known():
        return build_detector(SHORT, len(CLASSES), **{**settings, **changes})


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Images of some rectangles each, without annotations."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(2)
    empty = np.zeros((0, 4), "float32"), np.zeros(0, "int32"), np.zeros(0, bool)
    found = []
    for number in range(12):
        boxes = []
        for _ in range(rng.integers(2, 6)):
            left, top = (int(value) for value in rng.integers(0, 50, 2))
            width, height = (int(value) for value in rng.integers(12, 40, 2))
            boxes.append((CLASSES[rng.integers(2)], left, top, left + width, top + height))
        path = folder / f"{number}.png"
        draw(path, boxes, (80, 120))
        found.append(Photograph(path, (80, 120), *empty))
    return found


@pytest.fixture(scope="session")
def detector(images):
    """A detector whose outputs are spread, as if it had learned: it is sure of some boxes."""
    keras.utils.set_random_seed(0)
    model = build()
    vary(model.backbone.get_layer("backbone"))
    rng = np.random.default_rng(5)
    pixels = np.stack([letterboxed(image, SIZE)[0] for image in images])
    for head, output, spread in (
        (model.classification_head, "cls_logits", 3.0),
        (model.box_head, "bbox_regression", 0.15),
    ):
        last = head.prediction_layer
        for layer in (*head.conv_layers, last):
            layer.kernel.assign(rng.normal(0, 0.03, layer.kernel.shape))
        last.bias.assign(np.zeros(last.bias.shape))
        values = keras.ops.convert_to_numpy(model(pixels)[output])
        last.kernel.assign(last.kernel * spread / values.std())
        if output == "cls_logits":
            # One anchor in a hundred is of a score above 0.5.
            sure = np.quantile(values.max(-1), 0.99) * spread / values.std()
            last.bias.assign(np.full(last.bias.shape, -sure))
    return model


@pytest.fixture(scope="session")
def found_photographs(detector, images):
    """Images whose annotations are what the detector itself is sure of in them."""
    annotated = []
    for image, found in zip(images, Predictor(detector)(images), strict=True):
        sure = found.scores >= 0.5
        none = np.zeros(sure.sum(), bool)
        annotated.append(
            Photograph(image.path, image.size, found.boxes[sure], found.labels[sure], none)
        )
    return annotated
