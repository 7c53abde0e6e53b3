"""Attach attention to an existing model, and find, measure, freeze and detach it.

The model keeps its weights and its outputs.
"""

from keras_cbam.surgery.attach import attach_attention
from keras_cbam.surgery.cost import AddedParameters, added_parameters
from keras_cbam.surgery.detach import detach_attention
from keras_cbam.surgery.freeze import freeze_backbone
from keras_cbam.surgery.gate_start import start_gates
from keras_cbam.surgery.levels import feature_pyramid
from keras_cbam.surgery.multiply_adds import multiply_adds
from keras_cbam.surgery.plan import ATTENTIONS
from keras_cbam.surgery.points import AttentionPoint, attention_points
from keras_cbam.surgery.pyramid import FeaturePyramidModel
from keras_cbam.surgery.summary import ParameterCount, summarize_parameters
from keras_cbam.surgery.use import AttentionUse, GateUse, attention_use
from keras_cbam.surgery.use_answers import NotFiniteError, Replacement

__all__ = [
    "ATTENTIONS",
    "AddedParameters",
    "AttentionPoint",
    "AttentionUse",
    "FeaturePyramidModel",
    "GateUse",
    "NotFiniteError",
    "ParameterCount",
    "Replacement",
    "added_parameters",
    "attach_attention",
    "attention_points",
    "attention_use",
    "detach_attention",
    "feature_pyramid",
    "freeze_backbone",
    "multiply_adds",
    "start_gates",
    "summarize_parameters",
]
