"""Attention layers, written with `keras.ops` for every backend and both data formats."""

from keras_cbam.layers.bam import BAM
from keras_cbam.layers.base import AttentionLayer
from keras_cbam.layers.cbam import CBAM
from keras_cbam.layers.channel_attention import ChannelAttention
from keras_cbam.layers.spatial_attention import SpatialAttention
from keras_cbam.layers.squeeze_excite import SqueezeExcite

__all__ = ["BAM", "CBAM", "AttentionLayer", "ChannelAttention", "SpatialAttention", "SqueezeExcite"]
