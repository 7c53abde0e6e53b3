"""The networks of studies by name, with a factor for their width where they have one."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from keras_cbam import models
from keras_cbam.errors import InputError
from keras_cbam.pixels import TORCH
from keras_cbam.studies.attentions import ATTENTIONS

# The argument of a builder that a factor behind its name stands for.
FACTORS = ("width", "alpha")


def check_network(name: str) -> None:
    """Raise an `InputError` unless `name` is a network of `keras_cbam.models`, factor and all."""
    _parse(name)


def build_network(
    name: str, attention: str, classes: int, *, image_size: int, stem: str = "imagenet"
) -> keras.Model:
    """Build a network of the paper that takes pixels.

    Args:
        name: of a builder of `keras_cbam.models`, with a factor for its width behind a hyphen if it
            takes one, such as `"WideResNet18-0.5"`.
        attention: a name of `ATTENTIONS`.
        classes: how many classes.
        image_size: side of the images, in pixels.
        stem: as for the builder.

    Returns:
        A `keras.Model` from `(batch, image_size, image_size, 3)` RGB in 0..255 to
        `(batch, classes)` probabilities.

    Raises:
        InputError: on another name.
    """
    builder, settings = _parse(name)
    if attention not in ATTENTIONS:
        raise InputError(f"Expected an attention of {', '.join(ATTENTIONS)}. Received: {attention}")
    image = keras.Input((image_size, image_size, 3), name="image")
    pixels = keras.layers.Rescaling(TORCH.scale, TORCH.offset, name="preprocessing")(image)
    try:
        scores = getattr(models, builder)(
            ATTENTIONS[attention],
            input_tensor=pixels,
            classes=classes,
            classifier_activation=None,
            stem=stem,
            **settings,
        )
    except ValueError as error:
        raise InputError(f"Network {name} cannot be built: {error}") from error
    # Whatever the dtype policy, probabilities are not rounded.
    softmax = keras.layers.Activation("softmax", dtype="float32", name="probabilities")
    return keras.Model(image, softmax(scores.output), name=scores.name)


def _parse(name: str) -> tuple[str, dict[str, Any]]:
    """The builder of a name, and the arguments that its factor stands for."""
    builder, hyphen, factor = name.partition("-")
    if builder not in models.__all__:
        raise InputError(
            f"Expected a network of {', '.join(models.__all__)}, behind a hyphen a factor for its "
            f"width where it takes one, such as WideResNet18-0.5. Received: {name}"
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
            f"Expected a factor above 0 behind a network that takes one. Received: {name}"
        )
    return builder, {taken[0]: number}
