"""Running a detector on photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.batches import in_batches
from keras_cbam.detection.decoder import Detections, decode
from keras_cbam.detection.detector import anchors, raw_heads
from keras_cbam.detection.letterbox import letterbox

OUTPUTS = ("bbox_regression", "cls_logits")


class Decoding(NamedTuple):
    """What turns raw outputs into boxes, beside the anchors.

    Attributes:
        height: of the detector's input, in pixels.
        width: likewise.
        confidence_threshold: score below which nothing is found.
        iou_threshold: intersection over union from which two boxes are the same object.
        max_detections: the most that are found in an image.
    """

    height: int
    width: int
    confidence_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_detections: int = 100


class Predictor:
    """Finds objects with a detector, by the weights that it has when it is called.

    Args:
        detector: what `retinanet` builds.
        batch_size: images that are run at once.
    """

    def __init__(self, detector: keras.Model, batch_size: int = 8):
        self.size: tuple[int, int] = tuple(detector.inputs[0].shape[1:3])
        self.decoding = Decoding(*self.size)
        self.anchors = anchors(detector.anchor_generator, self.size)
        self.batch_size = batch_size
        self.heads = raw_heads(detector)

    def __call__(self, photographs: Sequence[Photograph]) -> list[Detections]:
        """What is found in each image, in pixels of the image, cut off at its edges."""
        if not photographs:
            return []
        images = in_batches(photographs, self.size, self.batch_size)
        outputs = self.heads.predict(images, verbose=0)
        return list(decode_all(outputs, photographs, self.anchors, self.decoding))


def decode_all(
    outputs: dict[str, np.ndarray],
    photographs: Sequence[Photograph],
    all_anchors: np.ndarray,
    decoding: Decoding,
) -> Iterator[Detections]:
    """Decode the outputs for each image, and move the boxes to its own pixels."""
    rows: Any = zip(photographs, *(outputs[name] for name in OUTPUTS), strict=True)
    for image, deltas, logits in rows:
        found = decode(deltas, logits, all_anchors, **decoding._asdict())
        fit = letterbox(image.size, (decoding.height, decoding.width))
        yield found._replace(boxes=fit.boxes_out(found.boxes))
