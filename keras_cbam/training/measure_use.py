"""Measure what the attention of a trained classifier is worth, at a bounded cost."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.surgery.gate_switch import model_gates
from keras_cbam.surgery.use import AttentionUse, attention_use
from keras_cbam.surgery.use_answers import NotFiniteError
from keras_cbam.surgery.use_inputs import evenly_spaced
from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import ImageSet

# The largest number of images on which all gates together are measured.
MOST_IMAGES = 2000
# Measuring the single gates may take this share of the training time. A training step takes about
# as long as running four batches.
SHARE = 0.08
RUNS_A_STEP = 4
# Bounds of the number of images per gate; fewer could not resolve one answer in a hundred.
LEAST, MOST = 96, 256


def measure_use(
    model: keras.Model, images: ImageSet, *, image_size: int, batch_size: int, steps: int
) -> AttentionUse | None:
    """Measure the use of attention on an evenly spaced subset of `images`.

    Args:
        model: a classifier with one output, `(batch, classes)`.
        images: the images and their labels.
        image_size: side of the images, in pixels.
        batch_size: images per batch.
        steps: number of steps that `model` was trained for; it decides the number of images per
            single gate.

    Returns:
        An `AttentionUse`, or `None` if the model has no attention or its outputs are not finite.
    """
    gates = len(model_gates(model))
    if not gates:
        return None
    affordable = int(SHARE * RUNS_A_STEP * steps / gates) * batch_size
    some = images.take(evenly_spaced(len(images), MOST_IMAGES))
    try:
        return attention_use(
            model,
            ImageBatches(some, image_size, batch_size),
            images_per_gate=min(max(affordable, LEAST), MOST),
        )
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
