"""Pictures of what a network attends to, and measures of how faithful they are."""

from keras_cbam.visualize.attention_maps import AttentionMap, attention_maps
from keras_cbam.visualize.explanation import Explanation, explain
from keras_cbam.visualize.faithfulness import Faithfulness, energy_inside, faithfulness
from keras_cbam.visualize.grad_cam import grad_cam, grad_cam_plus_plus
from keras_cbam.visualize.panels import channel_gate_histograms, comparison, overlay, panel
from keras_cbam.visualize.spatial_gates import draw_spatial_gates
from keras_cbam.visualize.web_page import WebPage

__all__ = [
    "AttentionMap",
    "Explanation",
    "Faithfulness",
    "WebPage",
    "attention_maps",
    "channel_gate_histograms",
    "comparison",
    "draw_spatial_gates",
    "energy_inside",
    "explain",
    "faithfulness",
    "grad_cam",
    "grad_cam_plus_plus",
    "overlay",
    "panel",
]
