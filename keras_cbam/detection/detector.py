"""KerasHub's RetinaNet on any backbone, with or without attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cbam.detection.augmentation import BOX_FORMAT
from keras_cbam.errors import InputError, refused, require
from keras_cbam.model_file import load_model
from keras_cbam.surgery import attach_attention, feature_pyramid
from keras_cbam.training.backbones import build_backbone, preprocess
from keras_cbam.training.classifier import check_attention

MIN_LEVEL, MAX_LEVEL = 3, 7
# The largest stride of the backbone's levels. Multiples of it keep the levels aligned.
MULTIPLE = 32
SCALES = 3
ASPECT_RATIOS = (0.5, 1.0, 2.0)
# Initial probability of an object, and standard deviation of the kernels: RetinaNet, section 4.1.
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

    The model takes raw RGB pixels: its graph applies the backbone's own preprocessing.

    Args:
        backbone: name of a `keras.applications` builder.
        classes: number of classes.
        weights: `"imagenet"`, `"none"` or the path of a weights file.
        attention: a name that `attach_attention` knows, or `"none"` for the plain backbone.
        image_size: height and width of the input, in pixels, multiples of 32.
        anchor_size: side of the smallest anchor at each level, in strides of that level.
        head_layers: number of convolutions in each head before its last.
        seed: seed of the heads' initialization.
        options: further arguments of the builder.

    Returns:
        A `keras_hub.models.RetinaNetObjectDetector`, built by `retinanet`.

    Raises:
        InputError: on a backbone, weights, attention, option or size that does not exist or fit.
    """
    check_attention(attention)
    check_image_size(image_size)
    image = keras.Input((*image_size, 3), name="image")
    network = build_backbone(backbone, weights, preprocess(image, backbone), options)
    if attention != "none":
        network = attach_attention(network, attention)
    # The graph starts at the raw image, so it includes the rescaling.
    network = keras.Model(network.inputs[0], network.output, name=network.name)
    what = f"Backbone {backbone} cannot be used for a detector: "
    with refused(what, only=(ValueError,), told=str):
        return retinanet(
            network,
            classes,
            image_size=image_size,
            anchor_size=anchor_size,
            head_layers=head_layers,
            seed=seed,
        )


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

    Boxes are left, top, right and bottom, in pixels (`"xyxy"`). The heads are initialized as in the
    paper. KerasHub differs here: it gives the bias of the object prior to the box head. The
    backbone is not copied: training the detector trains the layers of `backbone`.

    Args:
        backbone: a functional `keras.Model` from `(batch, height, width, 3)` to feature maps. If it
            has no `pyramid_outputs`, `feature_pyramid` finds them.
        classes: number of classes.
        image_size: height and width of the input, in pixels, multiples of 32.
        anchor_size: side of the smallest anchor at each level, in strides of that level.
        head_layers: number of convolutions, of 256 filters, in each head before its last.
        seed: seed of the heads' initialization.

    Returns:
        A `keras_hub.models.RetinaNetObjectDetector`, not compiled. Its outputs are
        `"bbox_regression"`, `(batch, anchors, 4)`, and `"cls_logits"`, `(batch, anchors, classes)`.

    Raises:
        ValueError: if the backbone has no feature maps at strides 8, 16 and 32, or if a side of
            `image_size` is not a multiple of 32.
        MissingPackageError: if KerasHub is not installed.

    Source: [RetinaNet](https://arxiv.org/abs/1708.02002).
    """
    require("keras_hub")
    import keras_hub

    check_image_size(image_size)
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
    # The label encoder works in pixels, which half precision would round.
    for layer in (detector.label_encoder, detector.label_encoder.box_matcher):
        layer.dtype_policy = "float32"
    _start(detector, seed)
    return detector


def anchor_generator(anchor_size: float) -> Any:
    """Return KerasHub's anchor generator: 3 sizes and 3 shapes at each place of each level."""
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
    """Return all anchors, `(anchors, 4)` left, top, right, bottom, in the order of the outputs."""
    levels = generator(keras.ops.zeros((1, *image_size, 3)))
    parts = [keras.ops.convert_to_numpy(part) for part in levels.values()]
    return np.concatenate(parts).astype("float32")


def load_detector(path: str | Path) -> keras.Model:
    """Load a detector from a `.keras` file, in safe mode.

    Raises:
        InputError: if the file does not exist, or does not hold a KerasHub RetinaNet.
    """
    require("keras_hub")
    import keras_hub

    model = load_model(path)
    if not isinstance(model, keras_hub.models.RetinaNetObjectDetector):
        raise InputError(f"Expected a KerasHub RetinaNet in {path}. Received: {model.name}")
    return model


def check_classes(detector: keras.Model, classes: Sequence[str]) -> None:
    """Raise an `InputError` unless there is one name for each class of the detector."""
    if len(classes) != detector.num_classes:
        raise InputError(
            f"Expected the names of the detector's {detector.num_classes} classes. "
            f"Received: {len(classes)}"
        )


def check_image_size(image_size: tuple[int, int]) -> None:
    """Raise an `InputError` unless a detector can have inputs of that size."""
    if not isinstance(image_size, tuple | list) or len(image_size) != 2:
        raise InputError(f"Expected image_size as (height, width). Received: {image_size}")
    if any(side < MULTIPLE or side % MULTIPLE for side in image_size):
        raise InputError(
            f"Expected an image size of multiples of {MULTIPLE}, so that the levels of the pyramid "
            f"align. Received: {image_size[0]}x{image_size[1]}"
        )


def _start(detector: keras.Model, seed: int) -> None:
    """Initialize the heads as in section 4.1: small kernels, and a low probability of objects."""
    # A `SeedGenerator` gives each kernel its own values; an integer seed would make them all equal.
    normal = keras.initializers.RandomNormal(stddev=SPREAD, seed=keras.random.SeedGenerator(seed))
    for head, bias in (
        (detector.box_head, 0.0),
        (detector.classification_head, -math.log((1 - PRIOR) / PRIOR)),
    ):
        for layer in (*head.conv_layers, head.prediction_layer):
            layer.kernel.assign(normal(layer.kernel.shape))
        head.prediction_layer.bias.assign(keras.ops.full(head.prediction_layer.bias.shape, bias))
