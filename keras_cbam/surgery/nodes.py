"""Classify one node of a graph, by its kind, its kernels and its consumers."""

from __future__ import annotations

from collections.abc import Callable

from keras_cbam.surgery.graph import Node

# Kinds that add a shortcut and a residual branch.
ADDITIONS = {"Add", "CustomScaleLayer"}
SEPARABLE = {"SeparableConv2D"}
NORMALIZATIONS = {
    "BatchNormalization",
    "GroupNormalization",
    "LayerNormalization",
    "RMSNormalization",
}
ACTIVATIONS = {"Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Relu", "Relu6", "Silu", "Gelu"}
POOLINGS = {"AveragePooling2D", "MaxPooling2D"}
# Kinds that compute a 1x1 convolution under another name.
POINTWISE = {"Dense", "EinsumDense"}
DROPS = {"AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout2D", "StochasticDepth"}
# Activations that turn the output of a convolution into scores, not features.
SCORES = ("linear", "sigmoid", "softmax", "tanh")
# Kinds that may stand between the end of a block and its consumer.
TRANSPARENT = DROPS | {"ZeroPadding2D"}


def drops(node: Node) -> bool:
    """Return whether a node does nothing in inference: dropout, or its substitute in ConvNeXt."""
    nothing = node.kind == "Activation" and node.config["activation"] == "linear"
    return node.kind in DROPS or nothing


def is_depthwise(node: Node) -> bool:
    """Return whether a node convolves each channel separately; a grouped convolution can do so."""
    if node.kind == "Conv2D":
        return 1 < node.config["groups"] == _channels(node)
    return node.kind == "DepthwiseConv2D"


def filters_per_channel(convolution: Node) -> float:
    """Return the number of filters of a convolution per channel."""
    return convolution.kernels[0][3] / _channels(convolution)


def _channels(convolution: Node) -> int:
    return convolution.kernels[0][2] * convolution.config.get("groups", 1)


def kernel_area(node: Node) -> int:
    """Return the area of all kernels of a node, in pixels."""
    return sum(kernel[0] * kernel[1] for kernel in node.kernels)


def run_end(node: Node) -> Node:
    """Return the last of the normalizations and activations that follow a convolution."""
    return follow(node, refines)


def refines(node: Node) -> bool:
    """Return whether a node is a normalization, an activation, or a layer that acts like one."""
    if node.kind in NORMALIZATIONS | ACTIVATIONS:
        return True
    # Recognize a custom class by its output: a map of the same size.
    same = [(source.shape, source.stride) for source in node.inputs] == [(node.shape, node.stride)]
    return same and not node.convolutions and node.kind not in POOLINGS | TRANSPARENT | POINTWISE


def follow(node: Node, along: Callable[[Node], bool]) -> Node:
    """Follow single consumers for which `along` holds, and return the last of them."""
    while len(node.consumers) == 1 and along(node.consumers[0]):
        node = node.consumers[0]
    return node
