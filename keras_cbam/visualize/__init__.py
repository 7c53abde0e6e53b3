"""Pictures of what a network attends to."""

from keras_cbam.visualize.spatial_gates import draw_spatial_gates
from keras_cbam.visualize.web_page import WebPage

__all__ = ["WebPage", "draw_spatial_gates"]
