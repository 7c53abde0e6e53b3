"""Names and layouts of the PyTorch weights of each layer of the authors' networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.layers import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite

# The pooled maps that the authors' spatial convolution reads, in this order.
POOLED_MAPS = ("max", "avg")


class Layout(NamedTuple):
    """The conversion of a PyTorch parameter to a Keras weight, and of the weight's shape back."""

    to_keras: Callable[[np.ndarray], np.ndarray]
    torch_shape: Callable[[tuple[int, ...]], tuple[int, ...]]


VECTOR = Layout(lambda w: w, lambda shape: shape)
# nn.Linear of shape (out, in), as a matrix (in, out) and as a 1x1 convolution (1, 1, in, out).
LINEAR = Layout(lambda w: w.T, lambda shape: shape[::-1])
LINEAR_CONV = Layout(lambda w: w.T[None, None], lambda shape: (shape[3], shape[2]))
# nn.Conv2d of shape (out, in, height, width), as (height, width, in, out).
CONV = Layout(
    lambda w: w.transpose(2, 3, 1, 0), lambda shape: (shape[3], shape[2], shape[0], shape[1])
)

# For each PyTorch name, the path of the weight within the Keras layer, and the layout.
Table = dict[str, tuple[str, Layout]]

NORM: Table = {
    "weight": ("gamma", VECTOR),
    "bias": ("beta", VECTOR),
    "running_mean": ("moving_mean", VECTOR),
    "running_var": ("moving_variance", VECTOR),
}


def _affine(name: str, path: str, layout: Layout) -> Table:
    """Return the table of a convolution or a matrix: a kernel, and a bias if there is one."""
    return _within(name, path, {"weight": ("kernel", layout), "bias": ("bias", VECTOR)})


def _within(name: str, folder: str, table: Table) -> Table:
    """Return a table nested one level deeper: in PyTorch under `name`, in Keras under `folder`."""
    return {
        f"{name}.{n}".lstrip("."): (f"{folder}/{path}".lstrip("/"), layout)
        for n, (path, layout) in table.items()
    }


def _channel(layer: ChannelAttention) -> Table:
    return {**_affine("mlp.1", "squeeze", LINEAR_CONV), **_affine("mlp.3", "excite", LINEAR_CONV)}


def _spatial(layer: SpatialAttention) -> Table:
    pooled = CONV
    if set(layer.pools) == set(POOLED_MAPS):
        order = [POOLED_MAPS.index(pool) for pool in layer.pools]
        pooled = CONV._replace(to_keras=lambda w: CONV.to_keras(w)[:, :, order])
    return {**_affine("spatial.conv", "", pooled), **_within("spatial.bn", "batch_norm", NORM)}


def _cbam(layer: CBAM) -> Table:
    table: Table = {}
    if layer.channel_attention is not None:
        table |= _within("ChannelGate", "channel_attention", _channel(layer.channel_attention))
    if layer.spatial_attention is not None:
        table |= _within("SpatialGate", "spatial_attention", _spatial(layer.spatial_attention))
    return table


def _bam(layer: BAM) -> Table:
    channel, spatial = "channel_att.gate_c.gate_c", "spatial_att.gate_s.gate_s"
    table = {
        **_affine(f"{channel}_fc_0", "squeeze", LINEAR_CONV),
        **_within(f"{channel}_bn_1", "squeeze_norm", NORM),
        **_affine(f"{channel}_fc_final", "excite", LINEAR_CONV),
        **_affine(f"{spatial}_conv_reduce0", "reduce", CONV),
        **_within(f"{spatial}_bn_reduce0", "reduce_norm", NORM),
        **_affine(f"{spatial}_conv_final", "score", CONV),
    }
    for i in range(len(layer.dilated)):
        table |= _affine(f"{spatial}_conv_di_{i}", f"dilated_{i}", CONV)
        table |= _within(f"{spatial}_bn_di_{i}", f"dilated_{i}_norm", NORM)
    return table


TABLES: dict[type, Callable[[Any], Table]] = {
    ChannelAttention: _channel,
    SqueezeExcite: _channel,
    SpatialAttention: _spatial,
    CBAM: _cbam,
    BAM: _bam,
    keras.layers.Conv2D: lambda layer: _affine("", "", CONV),
    keras.layers.BatchNormalization: lambda layer: NORM,
    keras.layers.Dense: lambda layer: _affine("", "", LINEAR),
}
