"""Attention for Keras vision models: CBAM layers, surgery on trained networks, proven exports."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_cbam.registration import when_keras_is_imported

if TYPE_CHECKING:
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

_MODULES = (
    "checkpoints",
    "detection",
    "export",
    "layers",
    "models",
    "studies",
    "surgery",
    "training",
    "visualize",
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in __all__:
        for module in ("layers", "surgery"):
            if hasattr(found := importlib.import_module(f"{__name__}.{module}"), name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


# Keras can load a layer only if its class is registered. Importing the modules registers it.
when_keras_is_imported("keras_cbam.surgery")
