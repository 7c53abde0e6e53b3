"""A classifier for new classes: a pretrained backbone, attention and a new head."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.config.names import NAMED_POINTS
from keras_cbam.errors import InputError, check_choice
from keras_cbam.surgery import ATTENTIONS, attach_attention
from keras_cbam.surgery.plan import Factory
from keras_cbam.training.backbones import build_backbone, preprocess

# The names of the head, and of the layer that pools its features.
HEAD = "probabilities"
FEATURES = "pool"


def check_attention(
    name: str, learning_rate: float | None = None, points: str | None = None
) -> None:
    """Raise an `InputError` if the attention or its points are unknown or do not fit together.

    Args:
        name: an attention that `attach_attention` knows, or `"none"`, which takes no learning rate
            and no points.
        learning_rate: the learning rate of the attention, if given.
        points: one of `NAMED_POINTS`, if given.
    """
    if name not in (*ATTENTIONS, "none"):
        raise InputError(
            f"Expected an attention of {', '.join(ATTENTIONS)} or none. Received: {name}"
        )
    if points is not None:
        check_choice("points", points, NAMED_POINTS)
    if name == "none" and points is not None:
        raise InputError("Points are for a network with attention. Received: attention none")
    if name == "none" and learning_rate is not None:
        raise InputError(
            "A learning rate of the attention is for a network with attention. Received: "
            "attention none"
        )


def build_classifier(
    backbone: str,
    classes: int,
    *,
    weights: str = "imagenet",
    attention: str | Factory = "cbam",
    points: str | None = None,
    image_size: int = 224,
    dropout: float = 0.2,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
) -> keras.Model:
    """Build a classifier on a `keras.applications` backbone with attention attached.

    The model takes raw RGB pixels: the preprocessing of the backbone is part of its graph.

    Args:
        backbone: name of a `keras.applications` builder.
        classes: number of classes, at least 2.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name or a factory that `attach_attention` takes, or `"none"` for the plain
            backbone.
        points: where to attach the attention: `"stage_ends"`, the end of each stage but the last;
            `"last_stage"`; or `None` for all attention points, for BAM the stage ends.
        image_size: height and width of the input, in pixels.
        dropout: share of the pooled features dropped in training, in [0, 1).
        seed: seed of the dropout. With `None` PyTorch draws it from its own generator, whose state
            no Keras variable holds.
        options: further arguments of the builder.

    Returns:
        A `keras.Model` from `image`, `(batch, image_size, image_size, 3)` RGB in 0..255, to
        `probabilities`, `(batch, classes)`.

    Raises:
        InputError: if the backbone, weights, attention or an option does not exist or does not fit.
    """
    named = attention if isinstance(attention, str) else "custom"
    if named == attention:
        check_attention(named, points=points)
    image = keras.Input((image_size, image_size, 3), name="image")
    model = build_backbone(backbone, weights, preprocess(image, backbone), options)
    if attention != "none":
        model = attach_attention(model, attention, points=points)
    x = keras.layers.GlobalAveragePooling2D(name=FEATURES)(model.output)
    x = keras.layers.Dropout(dropout, seed=seed, name="dropout")(x)
    outputs = keras.layers.Dense(classes, activation="softmax", dtype="float32", name=HEAD)(x)
    return keras.Model(model.inputs[0], outputs, name=f"{backbone}_{named}".lower())
