"""What one node of a graph is, by its kind, its kernels and what reads it."""

from __future__ import annotations

from collections.abc import Callable

from keras_cbam.surgery.graph import Node

# A shortcut and a residual branch join in these.
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
# Convolutions of 1x1 by another name.
POINTWISE = {"Dense", "EinsumDense"}
DROPS = {"AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout2D", "StochasticDepth"}
# Activations that make scores of a convolution, not features.
SCORES = ("linear", "sigmoid", "softmax", "tanh")
# What may stand between the end of a block and what reads it.
TRANSPARENT = DROPS | {"ZeroPadding2D"}


def drops(node: Node) -> bool:
    """Whether it does nothing in inference: dropout, or what ConvNeXt puts in its place."""
    nothing = node.kind == "Activation" and node.config["activation"] == "linear"
    return node.kind in DROPS or nothing


def is_depthwise(node: Node) -> bool:
    """Whether it convolves each channel by itself, as a grouped convolution can too."""
    if node.kind == "Conv2D":
        return 1 < node.config["groups"] == _channels(node)[0]
    return node.kind == "DepthwiseConv2D"


def widens(convolution: Node) -> bool:
    """Whether a convolution has more filters than channels."""
    channels, filters = _channels(convolution)
    return filters > channels


def narrows(convolution: Node) -> bool:
    """Whether a convolution has fewer filters than channels."""
    channels, filters = _channels(convolution)
    return filters < channels


def _channels(convolution: Node) -> tuple[int, int]:
    kernel = convolution.kernels[0]
    return kernel[2] * convolution.config.get("groups", 1), kernel[3]


def kernel_area(node: Node) -> int:
    """Places that its kernels cover, in pixels."""
    return sum(kernel[0] * kernel[1] for kernel in node.kernels)


def run_end(node: Node) -> Node:
    """Where the normalization and activation end that follow a convolution."""
    return follow(node, refines)


def refines(node: Node) -> bool:
    """Whether it is a normalization, an activation, or a layer that does likewise."""
    if node.kind in NORMALIZATIONS | ACTIVATIONS:
        return True
    # A class of the user's own is known by what it makes of a map: one of the same size.
    same = [(source.shape, source.stride) for source in node.inputs] == [(node.shape, node.stride)]
    return same and not node.convolutions and node.kind not in POOLINGS | TRANSPARENT | POINTWISE


def follow(node: Node, along: Callable[[Node], bool]) -> Node:
    """The last node of a chain of single readers that are all `along`."""
    while len(node.consumers) == 1 and along(node.consumers[0]):
        node = node.consumers[0]
    return node
