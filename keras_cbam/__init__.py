"""Attention for Keras vision models: CBAM layers, surgery on trained networks, proven exports."""

import importlib
from types import ModuleType

from keras_cbam.layers import BAM, CBAM, ChannelAttention, SpatialAttention, SqueezeExcite
from keras_cbam.surgery import (
    AttentionPoint,
    attach_attention,
    attention_points,
    attention_use,
    detach_attention,
    freeze_backbone,
    start_gates,
    summarize_parameters,
)

__version__ = "0.2.0.dev0"

__all__ = [
    "BAM",
    "CBAM",
    "AttentionPoint",
    "ChannelAttention",
    "SpatialAttention",
    "SqueezeExcite",
    "attach_attention",
    "attention_points",
    "attention_use",
    "detach_attention",
    "freeze_backbone",
    "start_gates",
    "summarize_parameters",
]

_LAZY_MODULES = ("checkpoints", "detection", "export", "models", "training", "visualize")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
