"""Reproduction of the paper's tables: networks by name, with an optional factor for the width."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_cbam import models
from keras_cbam.errors import InputError, check_choice, refused
from keras_cbam.pixels import TORCH
from keras_cbam.studies.attentions import ATTENTIONS

# Arguments of builders that the factor after the name of a network can set.
FACTORS = ("width", "alpha")


def build_network(
    name: str, attention: str, classes: int, *, image_size: int, stem: str = "imagenet"
) -> keras.Model:
    """Build a network of the paper that takes pixels as its input.

    Args:
        name: name of a builder of `keras_cbam.models`. If the builder takes a factor for the width,
            the factor can follow after a hyphen, such as `"WideResNet18-0.5"`.
        attention: a name in `ATTENTIONS`.
        classes: number of classes.
        image_size: side of the images, in pixels.
        stem: stem of the network, as for the builder.

    Returns:
        A `keras.Model` from `(batch, image_size, image_size, 3)` RGB in 0..255 to
        `(batch, classes)` probabilities.

    Raises:
        InputError: if the name of the network or of the attention is unknown, or if the network
            cannot be built.
    """
    builder, settings = parse_network(name)
    check_choice("an attention", attention, ATTENTIONS)
    image = keras.Input((image_size, image_size, 3), name="image")
    pixels = keras.layers.Rescaling(TORCH.scale, TORCH.offset, name="preprocessing")(image)
    with refused(f"Network {name} cannot be built: ", only=(ValueError,), told=str):
        scores = getattr(models, builder)(
            ATTENTIONS[attention],
            input_tensor=pixels,
            classes=classes,
            classifier_activation=None,
            stem=stem,
            **settings,
        )
    # Compute the probabilities in float32 under every dtype policy.
    softmax = keras.layers.Activation("softmax", dtype="float32", name="probabilities")
    return keras.Model(image, softmax(scores.output), name=scores.name)


def parse_network(name: str) -> tuple[str, dict[str, Any]]:
    """Return the name of the builder, and the arguments that the factor sets.

    Raises:
        InputError: if the builder is not in `keras_cbam.models`, or the factor is not valid.
    """
    builder, hyphen, factor = name.partition("-")
    if builder not in models.__all__:
        raise InputError(
            f"Expected a network of {', '.join(models.__all__)}, followed by a hyphen and a factor "
            f"for its width if it takes one, such as WideResNet18-0.5. Received: {name}"
        )
    taken = [a for a in FACTORS if a in inspect.signature(getattr(models, builder)).parameters]
    if not hyphen:
        return builder, {}
    try:
        number = float(factor)
    except ValueError:
        number = 0.0
    if not taken or not number > 0:
        raise InputError(
            f"Expected a factor above 0 after a network that takes one. Received: {name}"
        )
    return builder, {taken[0]: number}
