"""Detectors that find something, shared by tests."""

import keras
import numpy as np
import pytest

from keras_cbam.detection import Photograph, Predictor, build_detector
from tests.conftest import vary
from tests.detection.data import draw

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
    return build_detector("MobileNet", len(CLASSES), **{**settings, **changes})


@pytest.fixture(scope="session")
def detector():
    """A detector whose scores are spread, as if it had learned: it finds some boxes, not all."""
    keras.utils.set_random_seed(0)
    model = build()
    vary(model.backbone.get_layer("backbone"))
    rng = np.random.default_rng(5)
    for head, spread, bias in ((model.classification_head, 0.2, -2.0), (model.box_head, 0.05, 0.0)):
        for layer in head.conv_layers:
            layer.kernel.assign(rng.normal(0, 0.03, layer.kernel.shape))
        layer = head.prediction_layer
        layer.kernel.assign(rng.normal(0, spread / 8, layer.kernel.shape))
        layer.bias.assign(np.full(layer.bias.shape, bias))
    return model


@pytest.fixture(scope="session")
def found_photographs(detector, tmp_path_factory):
    """Images whose annotations are what the detector itself is sure of in them."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(2)
    empty = np.zeros((0, 4), "float32"), np.zeros(0, "int32"), np.zeros(0, bool)
    images = []
    for number in range(12):
        boxes = []
        for _ in range(rng.integers(2, 6)):
            left, top = (int(value) for value in rng.integers(0, 50, 2))
            width, height = (int(value) for value in rng.integers(12, 40, 2))
            boxes.append((CLASSES[rng.integers(2)], left, top, left + width, top + height))
        path = folder / f"{number}.png"
        draw(path, boxes, (80, 120))
        images.append(Photograph(path, (80, 120), *empty))
    annotated = []
    for image, found in zip(images, Predictor(detector)(images), strict=True):
        sure = found.scores >= 0.5
        none = np.zeros(sure.sum(), bool)
        annotated.append(
            Photograph(image.path, image.size, found.boxes[sure], found.labels[sure], none)
        )
    return annotated
