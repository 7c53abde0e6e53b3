"""Attention into an existing model, nothing of the model lost."""

from keras_cbam.surgery.attach import ATTENTIONS, attach_attention
from keras_cbam.surgery.freeze import freeze_backbone
from keras_cbam.surgery.points import AttentionPoint, attention_points

__all__ = [
    "ATTENTIONS",
    "AttentionPoint",
    "attach_attention",
    "attention_points",
    "freeze_backbone",
]
