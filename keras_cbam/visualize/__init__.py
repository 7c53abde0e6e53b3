"""Pictures of what a network attends to."""

from keras_cbam.visualize.attention_maps import AttentionMap, attention_maps
from keras_cbam.visualize.grad_cam import grad_cam, grad_cam_plus_plus
from keras_cbam.visualize.spatial_gates import draw_spatial_gates
from keras_cbam.visualize.web_page import WebPage

__all__ = [
    "AttentionMap",
    "WebPage",
    "attention_maps",
    "draw_spatial_gates",
    "grad_cam",
    "grad_cam_plus_plus",
]
