"""Reproduction of the paper's tables: the attentions that the tables compare.

Their weights are initialized as in the authors' networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.layers import CBAM, ChannelAttention
from keras_cbam.models import initializers
from keras_cbam.surgery.plan import Factory


def _factory(layer: Callable[..., keras.layers.Layer], **settings: Any) -> Factory:
    return lambda point: layer(kernel_initializer=initializers.default(), **settings)


def _cbam(**settings: Any) -> Factory:
    # The authors' networks initialize the gamma of the spatial gate's normalization to zero.
    return _factory(CBAM, gamma_initializer="zeros", **settings)


# Values for the argument `attention` of the builders in keras_cbam.models, by name.
ATTENTIONS: dict[str, str | Factory | None] = {
    "none": None,
    "se": "se",
    "bam": "bam",
    "cbam": "cbam",
    "channel": "channel",
    "channel_max": _factory(ChannelAttention, pooling=("max",)),
    "cbam_conv3": _cbam(spatial_pooling="conv", kernel_size=3),
    "cbam_conv7": _cbam(spatial_pooling="conv", kernel_size=7),
    "cbam_pool3": _cbam(kernel_size=3),
    "spatial_channel": _cbam(order="spatial_channel"),
    "parallel": _cbam(order="parallel"),
}
