"""Prediction: run a detector on photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.batches import PlainBatches
from keras_cbam.detection.decoder import Detections, decode, without_empty
from keras_cbam.detection.detector import anchors
from keras_cbam.detection.letterbox import letterbox

CONFIDENCE = 0.05
# Number of batches whose raw outputs are in memory at once.
AT_ONCE = 16
OUTPUTS = ("bbox_regression", "cls_logits")


class Decoding(NamedTuple):
    """Settings of the decoder.

    Attributes:
        height: height of the detector's input, in pixels.
        width: width of the detector's input, in pixels.
        confidence_threshold: boxes with a score above this are kept.
        iou_threshold: intersection over union from which two boxes count as the same object.
        max_detections: largest number of detections in an image.
    """

    height: int
    width: int
    confidence_threshold: float = CONFIDENCE
    iou_threshold: float = 0.5
    max_detections: int = 100


class Predictor:
    """Detects objects with a detector.

    Each call uses the weights that the detector has at that time.

    Args:
        detector: a detector that `retinanet` built.
        batch_size: number of images per batch.
        confidence_threshold: boxes with a score above this are kept. COCO's metrics need a low
            threshold.
    """

    def __init__(
        self,
        detector: keras.Model,
        batch_size: int = 8,
        *,
        confidence_threshold: float = CONFIDENCE,
    ):
        self.size: tuple[int, int] = tuple(detector.inputs[0].shape[1:3])
        self.decoding = Decoding(*self.size, confidence_threshold)
        self.anchors = anchors(detector.anchor_generator, self.size)
        self.batch_size = batch_size
        # A plain model of the two raw outputs, without KerasHub's decoding.
        self.heads = keras.Model(detector.inputs[0], detector.output, name="detector")

    def __call__(self, photographs: Sequence[Photograph]) -> list[Detections]:
        """Return the detections in each image, in pixels of the image, clipped to the image."""
        found: list[Detections] = []
        # In groups, because the raw outputs of many images would fill the memory.
        for start in range(0, len(photographs), AT_ONCE * self.batch_size):
            some = photographs[start : start + AT_ONCE * self.batch_size]
            images = PlainBatches(some, self.size, self.batch_size)
            found += self.decode(self.heads.predict(images, verbose=0), some)
        return found

    def decode(
        self, outputs: dict[str, np.ndarray], photographs: Sequence[Photograph]
    ) -> list[Detections]:
        """Decode the raw outputs for each image, and convert the boxes to pixels of the image."""
        decoded = []
        rows: Any = zip(photographs, *(outputs[name] for name in OUTPUTS), strict=True)
        for image, deltas, logits in rows:
            found = decode(deltas, logits, self.anchors, **self.decoding._asdict())
            fit = letterbox(image.size, self.size)
            decoded.append(without_empty(found._replace(boxes=fit.boxes_out(found.boxes))))
        return decoded
