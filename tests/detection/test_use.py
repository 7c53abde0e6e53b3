"""What a detector's attention is worth, against the same detector with gates set by hand."""

import numpy as np
import pytest

from keras_cbam.detection import Predictor
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.use import detector_use
from keras_cbam.layers import CBAM
from keras_cbam.surgery.addresses import walk
from tests.backend import quick_on
from tests.detection.conftest import CLASSES, build

pytest.importorskip("keras_hub", reason="needs the extra `detection`")
pytest.importorskip("pycocotools", reason="needs the extra `detection`")
# PyTorch compiles nothing.
pytestmark = [pytest.mark.backends, quick_on("torch")]


def mean_ap(detector, photographs):
    return coco_metrics(photographs, Predictor(detector)(photographs), CLASSES)["mAP"]


@pytest.fixture
def restored(detector):
    before = detector.get_weights()
    yield detector
    detector.set_weights(before)


def test_without_attention_it_finds_what_constant_gates_find(restored, found_photographs):
    """Spatial gates are random; channel gates are at their start, which is 1."""
    plain = mean_ap(restored, found_photographs)
    # Batches of 5 leave one of 2.
    use = detector_use(Predictor(restored, 5), found_photographs, CLASSES, plain)
    means = {(gate["layer"], gate["kind"]): gate["mean"] for gate in use["gates"]}
    for address, layer in walk(restored):
        if isinstance(layer, CBAM):
            address = address.removeprefix(f"{restored.backbone.name}/")
            found = [
                mean
                for (name, kind), mean in means.items()
                if kind == "spatial" and name.endswith(address)
            ]
            normalization = layer.spatial_attention.batch_norm
            normalization.gamma.assign([0.0])
            # The gate is 2 * sigmoid(beta).
            normalization.beta.assign([np.log(found[0] / (2 - found[0]))])
    without = mean_ap(restored, found_photographs)
    assert without < plain - 0.01
    assert use["mAP_without"] == pytest.approx(without, abs=0.01)
    assert use["mAP"] == plain
    assert use["used"]
    assert use["sentence"].startswith(f"attention: without it mAP goes from {plain:.1%} to ")
    # Now that every gate is a constant, nothing is lost without it.
    again = detector_use(Predictor(restored, 5), found_photographs, CLASSES, without)
    assert again["mAP_without"] == pytest.approx(without, abs=1e-6)
    assert not again["used"]
    assert again["sentence"].startswith("attention is not used: without it mAP goes from ")


def test_a_detector_that_finds_nothing(restored, found_photographs):
    bias = restored.classification_head.prediction_layer.bias
    bias.assign(np.full(bias.shape, -60.0))
    use = detector_use(Predictor(restored, 5), found_photographs, CLASSES, 0.0)
    assert not use["used"]
    assert use["mAP_without"] == 0


def test_a_detector_without_attention(found_photographs):
    assert detector_use(Predictor(build("none")), found_photographs, CLASSES, 0.0) is None
