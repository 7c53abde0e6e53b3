"""Measure how much a detector uses its attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.batches import PlainBatches
from keras_cbam.detection.decoder import Detections
from keras_cbam.detection.letterbox import input_pixels
from keras_cbam.detection.metrics import coco_metrics
from keras_cbam.detection.predict import OUTPUTS, Predictor
from keras_cbam.surgery.gate_switch import GateSwitch, model_gates
from keras_cbam.surgery.use import AttentionUse, attention_use
from keras_cbam.surgery.use_answers import MATTERS
from keras_cbam.surgery.use_inputs import evenly_spaced

# An anchor whose highest score is below this finds nothing.
SCORE = 0.3
# Largest number of anchor answers, over all images and classes, that are kept at once: some 200 MB
# of each kind in float64.
MOST_ANSWERS = 20_000_000
MOST_IMAGES = 100
IMAGES_PER_GATE = 32


def detector_use(
    predictor: Predictor, photographs: Sequence[Photograph], classes: Sequence[str], mean_ap: float
) -> dict[str, Any] | None:
    """Measure how much attention changes the answers of the anchors that find objects, and mAP.

    Args:
        predictor: predictor of the detector.
        photographs: images with their boxes.
        classes: names of the classes.
        mean_ap: COCO's mAP of the detector on these images, with its attention.

    Returns:
        The record of `AttentionUse.record` with `"mAP"` and `"mAP_without"` added; `None` for a
        detector without attention.
    """
    if not model_gates(predictor.heads):
        return None
    each = predictor.heads.output[OUTPUTS[1]].shape
    most = min(MOST_IMAGES, max(MOST_ANSWERS // (each[1] * (each[2] + 1)), 1))
    some = [photographs[index] for index in evenly_spaced(len(photographs), most)]
    use = attention_use(
        predictor.heads,
        PlainBatches(some, predictor.size, predictor.batch_size),
        images_per_gate=IMAGES_PER_GATE,
        batch_size=predictor.batch_size,
        answers=_answers,
        judged=_finds,
    )
    found = _without_attention(predictor, photographs, use)
    without = coco_metrics(photographs, found, classes)["mAP"] or 0.0
    used = use.used or abs(mean_ap - without) >= MATTERS
    matter = sum(gate.replaced.matters for gate in use.gates)
    sentence = (
        f"attention{'' if used else ' is not used'}: without it mAP goes from {mean_ap:.1%} to "
        f"{without:.1%}; {matter} of {len(use.gates)} gates matter"
    )
    summary = {"used": used, "sentence": sentence, "mAP": mean_ap, "mAP_without": without}
    return {**use.record(), **summary}


def _answers(outputs: Any) -> Any:
    """Return the answer of each anchor: a share for each class, and last one for no object."""
    scores = ops.sigmoid(ops.cast(outputs[OUTPUTS[1]], "float32"))
    shares = ops.concatenate([scores, ops.full_like(scores[..., :1], SCORE)], axis=-1)
    return shares / ops.sum(shares, axis=-1, keepdims=True)


def _finds(answers: np.ndarray) -> np.ndarray:
    """Return whether an anchor finds an object."""
    return answers.argmax(-1) != answers.shape[-1] - 1


def _without_attention(
    predictor: Predictor, photographs: Sequence[Photograph], use: AttentionUse
) -> list[Detections]:
    """Return the detections in each image with every gate replaced by its constants."""
    switch = GateSwitch(predictor.heads)
    constants = [gate.constants for gate in use.gates]
    found: list[Detections] = []
    for start in range(0, len(photographs), predictor.batch_size):
        some = photographs[start : start + predictor.batch_size]
        images = input_pixels(some, predictor.size)
        outputs, _ = switch.run(images, constants, np.ones(len(constants)))
        found += predictor.decode(outputs, some)
    return found
