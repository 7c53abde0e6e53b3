"""Measure what the attention of a trained classifier is worth, at a bounded cost."""

from __future__ import annotations

from typing import Any

from keras_cbam.surgery.gate_switch import model_gates
from keras_cbam.surgery.use import attention_use
from keras_cbam.surgery.use_answers import NotFiniteError
from keras_cbam.surgery.use_inputs import evenly_spaced
from keras_cbam.training.image_folder import ImageSet
from keras_cbam.training.processes import on_its_own
from keras_cbam.training.scores import Scorer

# The largest number of images on which all gates together are measured.
MOST_IMAGES = 2000
# Measuring the single gates may take this share of the training time. A training step takes about
# as long as running four batches.
SHARE = 0.08
RUNS_A_STEP = 4
# Bounds of the number of images per gate; fewer could not resolve one answer in a hundred.
LEAST, MOST = 96, 256


def measure_use(scorer: Scorer, images: ImageSet, steps: int) -> dict[str, Any] | None:
    """Measure the use of attention on an evenly spaced subset of `images`.

    If several processes train together, each of them measures all of it.

    Args:
        scorer: the scorer of a classifier.
        images: the images and their labels.
        steps: number of steps that the classifier was trained for; it decides the number of images
            per single gate.

    Returns:
        The `AttentionUse.record`, or `None` if the classifier has no attention or its outputs are
        not finite.
    """
    gates = len(model_gates(scorer.model))
    if not gates:
        return None
    affordable = int(SHARE * RUNS_A_STEP * steps / gates) * scorer.batch_size
    batches = scorer.batches(images.take(evenly_spaced(len(images), MOST_IMAGES)))
    per_gate = min(max(affordable, LEAST), MOST)
    with on_its_own():
        try:
            return attention_use(scorer.model, batches, images_per_gate=per_gate).record()
        except NotFiniteError:
            return None


def use_lines(use: dict[str, Any]) -> list[str]:
    """Return the content of `AttentionUse.record` as lines of Markdown."""
    lines = [
        f"**{use['sentence']}**",
        "",
        "Each gate was replaced by its mean over images and places, a constant that the "
        f"convolution before it could hold: all together on {use['images']} images, each alone on "
        f"{use['images_per_gate']}. A gate matters where that changes at least 1 % of the answers.",
        "",
        "| attention layer | gate | mean | sd over images | sd over places | answers changed | "
        "KL divergence | accuracy without it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for gate in use["gates"]:
        alone = gate["replaced"]
        accuracy = "-" if alone["accuracy"] is None else f"{alone['accuracy']:.1%}"
        lines.append(
            f"| {gate['layer']} | {gate['kind']} | {gate['mean']:.4f} | {gate['over_images']:.4f} "
            f"| {gate['over_places']:.4f} | {1 - alone['agreement']:.1%} | "
            f"{alone['kl_divergence']:.2g} | {accuracy} |"
        )
    return lines
