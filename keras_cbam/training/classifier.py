"""A classifier for new classes: pretrained backbone, attention, a fresh head."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.config.names import NAMED_POINTS
from keras_cbam.errors import InputError
from keras_cbam.surgery import ATTENTIONS, attach_attention
from keras_cbam.surgery.plan import Factory
from keras_cbam.training.backbones import build_backbone, preprocess

# The head, and the layer that gives it its features.
HEAD = "probabilities"
FEATURES = "pool"


def check_attention(
    name: str, learning_rate: float | None = None, points: str | None = None
) -> None:
    """Raise an `InputError` on an unknown attention or points, and on a rate or points of none.

    Args:
        name: one that `attach_attention` knows, or `"none"`.
        learning_rate: its own learning rate, if one was stated.
        points: one of `NAMED_POINTS`, if that was stated.
    """
    if name not in (*ATTENTIONS, "none"):
        raise InputError(
            f"Expected an attention of {', '.join(ATTENTIONS)} or none. Received: {name}"
        )
    if points not in (None, *NAMED_POINTS):
        raise InputError(f"Expected points of {', '.join(NAMED_POINTS)}. Received: {points}")
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

    The model takes raw RGB: its graph applies the backbone's own preprocessing.

    Args:
        backbone: name of a `keras.applications` builder.
        classes: how many classes, at least 2.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name that `attach_attention` knows, a factory as it takes one, or `"none"` for
            the plain backbone.
        points: where it goes: `"stage_ends"`, the end of each stage but the last, `"last_stage"`,
            or `None` for all attention points, for BAM the stage ends.
        image_size: height and width of the input, in pixels.
        dropout: share of the pooled features dropped in training, in [0, 1).
        seed: seed of the dropout. With `None` PyTorch draws it from its own generator, whose state
            no Keras variable holds.
        options: further arguments of the builder.

    Returns:
        A `keras.Model` from `image`, `(batch, image_size, image_size, 3)` RGB in 0..255, to
        `probabilities`, `(batch, classes)`.

    Raises:
        InputError: on a backbone, weights, attention or option that does not exist or fit.
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
