"""Reproduction of the paper's tables: networks by name, with an optional factor for the width."""

from __future__ import annotations

import keras

from keras_cbam.errors import check_choice, refused
from keras_cbam.models.catalogue import builder_of
from keras_cbam.pixels import TORCH
from keras_cbam.studies.attentions import ATTENTIONS


def build_network(
    name: str, attention: str, classes: int, *, image_size: int, stem: str = "imagenet"
) -> keras.Model:
    """Build a network of the paper that takes pixels as its input.

    Args:
        name: name of a network, as for `keras_cbam.models.catalogue.builder_of`.
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
    build = builder_of(name)
    check_choice("an attention", attention, ATTENTIONS)
    image = keras.Input((image_size, image_size, 3), name="image")
    pixels = keras.layers.Rescaling(TORCH.scale, TORCH.offset, name="preprocessing")(image)
    with refused(f"Network {name} cannot be built: ", only=(ValueError,), told=str):
        scores = build(
            ATTENTIONS[attention],
            input_tensor=pixels,
            classes=classes,
            classifier_activation=None,
            stem=stem,
        )
    # Compute the probabilities in float32 under every dtype policy.
    softmax = keras.layers.Activation("softmax", dtype="float32", name="probabilities")
    return keras.Model(image, softmax(scores.output), name=scores.name)
