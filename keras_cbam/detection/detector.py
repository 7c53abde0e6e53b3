"""KerasHub's RetinaNet on any backbone, with attention or without."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.detection.augmentation import BOX_FORMAT
from keras_cbam.errors import InputError, require
from keras_cbam.model_file import load_model
from keras_cbam.surgery import attach_attention, feature_pyramid
from keras_cbam.training.backbones import build_backbone, preprocess
from keras_cbam.training.classifier import check_attention

MIN_LEVEL, MAX_LEVEL = 3, 7
# Where the maps of all levels that come from the backbone meet.
MULTIPLE = 32
SCALES = 3
ASPECT_RATIOS = (0.5, 1.0, 2.0)
# Probability of an object at the start, and spread of the kernels: RetinaNet, section 4.1.
PRIOR = 0.01
SPREAD = 0.01


def build_detector(
    backbone: str,
    classes: int,
    *,
    weights: str = "imagenet",
    attention: str = "cbam",
    image_size: tuple[int, int] = (320, 320),
    anchor_size: float = 4.0,
    head_layers: int = 4,
    seed: int = 0,
    options: dict[str, Any] | None = None,
) -> keras.Model:
    """Build a detector on a `keras.applications` backbone with attention attached.

    The model takes raw RGB: its graph applies the backbone's own preprocessing.

    Args:
        backbone: name of a `keras.applications` builder.
        classes: how many classes.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name that `attach_attention` knows, or `"none"` for the plain backbone.
        image_size: height and width of the input, in pixels, multiples of 32.
        anchor_size: side of the smallest anchor at each level, in steps of that level.
        head_layers: convolutions in each head before its last.
        seed: seed of the heads.
        options: further arguments of the builder.

    Returns:
        A `keras_hub.models.RetinaNetObjectDetector`, as `retinanet` builds it.

    Raises:
        InputError: on a backbone, weights, attention, option or size that does not exist or fit.
    """
    check_attention(attention)
    if (message := misfit(image_size)) is not None:
        raise InputError(message)
    image = keras.Input((*image_size, 3), name="image")
    network = build_backbone(backbone, weights, preprocess(image, backbone), options)
    if attention != "none":
        network = attach_attention(network, attention)
    # The rescaling belongs to the graph.
    network = keras.Model(network.inputs[0], network.output, name=network.name)
    try:
        return retinanet(
            network,
            classes,
            image_size=image_size,
            anchor_size=anchor_size,
            head_layers=head_layers,
            seed=seed,
        )
    except ValueError as error:
        raise InputError(f"Backbone {backbone} makes no detector: {error}") from error


def retinanet(
    backbone: keras.Model,
    classes: int,
    *,
    image_size: tuple[int, int],
    anchor_size: float = 4.0,
    head_layers: int = 4,
    seed: int = 0,
) -> keras.Model:
    """Build KerasHub's RetinaNet on a functional backbone.

    Boxes are left, top, right and bottom, in pixels (`"xyxy"`). The heads start as the paper says,
    which KerasHub's do not: it gives the prior of objects to the boxes. Nothing is copied: what
    trains the detector trains the layers of `backbone`.

    Args:
        backbone: a functional `keras.Model` from `(batch, height, width, 3)` to feature maps; one
            without `pyramid_outputs` gets those that `feature_pyramid` finds.
        classes: how many classes.
        image_size: height and width of the input, in pixels, multiples of 32.
        anchor_size: side of the smallest anchor at each level, in steps of that level.
        head_layers: convolutions of 256 filters in each head before its last.
        seed: seed of the heads.

    Returns:
        A `keras_hub.models.RetinaNetObjectDetector`, not compiled, whose graph gives
        `"bbox_regression"`, `(batch, anchors, 4)`, and `"cls_logits"`, `(batch, anchors, classes)`.

    Raises:
        ValueError: if the backbone has no feature maps at 8, 16 and 32 pixels, or on a size that is
            not of multiples of 32.
        MissingPackageError: without KerasHub.

    Source: [RetinaNet](https://arxiv.org/abs/1708.02002).
    """
    require("keras_hub")
    import keras_hub

    if (message := misfit(image_size)) is not None:
        raise ValueError(message)
    encoder = feature_pyramid(backbone)
    detector = keras_hub.models.RetinaNetObjectDetector(
        keras_hub.models.RetinaNetBackbone(
            encoder,
            min_level=MIN_LEVEL,
            max_level=MAX_LEVEL,
            use_p5=False,
            image_shape=(*image_size, 3),
        ),
        classes,
        bounding_box_format=BOX_FORMAT,
        anchor_generator=anchor_generator(anchor_size),
        pre_logits_num_conv_layers=head_layers,
    )
    # What is right is told in pixels, which half precision would round.
    for layer in (detector.label_encoder, detector.label_encoder.box_matcher):
        layer.dtype_policy = "float32"
    _start(detector, seed)
    return detector


def anchor_generator(anchor_size: float) -> Any:
    """KerasHub's anchors: three sizes and three shapes at each place of each level."""
    import keras_hub

    return keras_hub.layers.AnchorGenerator(
        BOX_FORMAT,
        min_level=MIN_LEVEL,
        max_level=MAX_LEVEL,
        num_scales=SCALES,
        aspect_ratios=list(ASPECT_RATIOS),
        anchor_size=anchor_size,
    )


def anchors(generator: Any, image_size: tuple[int, int]) -> np.ndarray:
    """All anchors of an input, `(anchors, 4)` left, top, right, bottom, in the order of outputs."""
    levels = generator(keras.ops.zeros((1, *image_size, 3)))
    parts = [keras.ops.convert_to_numpy(part) for part in levels.values()]
    return np.concatenate(parts).astype("float32")


def load_detector(path: str | Path) -> keras.Model:
    """Load a detector that `.keras` holds, in safe mode.

    Raises:
        InputError: if there is no such file, or it holds no such detector.
    """
    require("keras_hub")
    import keras_hub

    model = load_model(path)
    if not isinstance(model, keras_hub.models.RetinaNetObjectDetector):
        raise InputError(f"Expected a RetinaNet of KerasHub in {path}. Received: {model.name}")
    return model


def check_classes(detector: keras.Model, classes: Sequence[str]) -> None:
    """Raise an `InputError` unless there is a name for each class of a detector."""
    if len(classes) != detector.num_classes:
        raise InputError(
            f"Expected the names of the detector's {detector.num_classes} classes. "
            f"Received: {len(classes)}"
        )


def raw_heads(detector: keras.Model) -> keras.Model:
    """The detector as a plain model of its two outputs, with nothing decoded."""
    return keras.Model(detector.inputs[0], detector.output, name="detector")


def misfit(image_size: tuple[int, int]) -> str | None:
    """Why a detector cannot have inputs of that size; `None` if it can."""
    if not any(side < MULTIPLE or side % MULTIPLE for side in image_size):
        return None
    return (
        f"Expected an image size of multiples of {MULTIPLE}, where the levels of the pyramid meet. "
        f"Received: {image_size[0]}x{image_size[1]}"
    )


def _start(detector: keras.Model, seed: int) -> None:
    """Give the heads the start of section 4.1: small kernels, and rare objects."""
    # Each kernel draws its own: with a number for a seed all would be alike.
    normal = keras.initializers.RandomNormal(stddev=SPREAD, seed=keras.random.SeedGenerator(seed))
    for head, bias in (
        (detector.box_head, 0.0),
        (detector.classification_head, -math.log((1 - PRIOR) / PRIOR)),
    ):
        for layer in (*head.conv_layers, head.prediction_layer):
            layer.kernel.assign(normal(layer.kernel.shape))
        head.prediction_layer.bias.assign(keras.ops.full(head.prediction_layer.bias.shape, bias))
