"""The operations that each target runs best, for the same function.

Artifacts are compared with Keras as they are, lowered.
"""

from __future__ import annotations

from collections.abc import Callable

from .columns import columns_as_channels
from .graph import Graph
from .means import channel_means_as_convolutions
from .sums import one_convolution_of_sums

# What is done, in turn, to a graph of any precision that will run there.
LOWERINGS: dict[str, tuple[Callable[[Graph], None], ...]] = {
    "cpu": (one_convolution_of_sums, columns_as_channels),
    "npu": (channel_means_as_convolutions,),
    # As the converter writes it.
    "generic": (),
}


def lower(graph: Graph, target: str) -> None:
    """Write a graph in the operations of the target."""
    for lowering in LOWERINGS[target]:
        lowering(graph)
