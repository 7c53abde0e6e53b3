"""Attention layers: `keras.ops` only, every backend, either data format."""

from keras_cbam.layers.base import AttentionLayer
from keras_cbam.layers.cbam import CBAM
from keras_cbam.layers.channel_attention import ChannelAttention
from keras_cbam.layers.spatial_attention import SpatialAttention

__all__ = ["CBAM", "AttentionLayer", "ChannelAttention", "SpatialAttention"]
