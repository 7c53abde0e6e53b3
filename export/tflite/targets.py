"""Rewriting of a TFLite graph in the operations that a target runs best.

The rewritten files are the ones that are compared with Keras.
"""

from __future__ import annotations

from collections.abc import Callable

from .columns import columns_as_channels
from .graph import Graph
from .means import channel_means_as_convolutions
from .sums import one_convolution_of_sums

# The passes that each target applies in turn, to graphs of any precision.
LOWERINGS: dict[str, tuple[Callable[[Graph], None], ...]] = {
    "cpu": (one_convolution_of_sums, columns_as_channels),
    "npu": (channel_means_as_convolutions,),
    # The graph stays as the converter writes it.
    "generic": (),
}


def lower(graph: Graph, target: str) -> None:
    """Rewrite a graph in the operations of the target."""
    for lowering in LOWERINGS[target]:
        lowering(graph)
