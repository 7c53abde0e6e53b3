"""What the attention of a trained classifier is worth, at a bounded cost."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.surgery.gate_switch import model_gates
from keras_cbam.surgery.use import AttentionUse, attention_use
from keras_cbam.surgery.use_answers import NotFiniteError
from keras_cbam.surgery.use_inputs import evenly_spaced
from keras_cbam.training.image_batches import ImageBatches
from keras_cbam.training.image_folder import ImageSet

# The most images that all gates together are judged on.
MOST_IMAGES = 2000
# Judging single gates may take this share of the time of training. A training step takes about as
# long as running four batches.
SHARE = 0.08
RUNS_A_STEP = 4
# Bounds of the images for each gate; fewer could not tell one answer in a hundred.
LEAST, MOST = 96, 256


def measure_use(
    model: keras.Model, images: ImageSet, *, image_size: int, batch_size: int, steps: int
) -> AttentionUse | None:
    """Measure the use of attention on images, evenly spaced among those given.

    Args:
        model: a classifier of one output, `(batch, classes)`.
        images: with their labels.
        image_size: side of the images, in pixels.
        batch_size: images that are run at once.
        steps: of its training, by which the number of images for each gate alone is chosen.

    Returns:
        An `AttentionUse`; `None` for a model without attention, or whose answers are no numbers.
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
    """What `AttentionUse.record` tells, as lines of Markdown."""
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
