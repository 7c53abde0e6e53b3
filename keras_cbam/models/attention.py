"""The attention of a network: its layers, with the authors' settings, and their positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_cbam.models import initializers
from keras_cbam.surgery import ATTENTIONS, AttentionPoint
from keras_cbam.surgery.plan import PLACES, Factory, Insertion, check_attention

# Makes the attention layer for a point. It receives the point and the address of its block or
# stage.
Make = Callable[[AttentionPoint, str], keras.layers.Layer]

# The authors' networks start the normalization of the spatial gate at zero.
SETTINGS: dict[str, dict[str, Any]] = {
    "cbam": {"gamma_initializer": "zeros"},
    "spatial": {"gamma_initializer": "zeros"},
}


class Attention:
    """Inserts attention into a network while it is built.

    Args:
        make: makes the layers; `None` for no attention.
        stages: the stages after which the layers stand. If empty, they stand in every block.
    """

    def __init__(self, make: Make | None = None, stages: tuple[int, ...] = ()):
        self.make = make
        self.stages = stages
        self.counts: dict[int, int] = {}

    @classmethod
    def resolve(cls, attention: str | Factory | None, bam_stages: tuple[int, ...]) -> Attention:
        """Return the `Attention` for the argument `attention` of a builder.

        Args:
            attention: `None`, a name, or a factory that receives an `AttentionPoint`.
            bam_stages: the stages after which attention stands if its name does not go into blocks.

        Raises:
            ValueError: if the name is unknown.
            TypeError: if `attention` is a layer, a class, or not callable.
        """
        if attention is None:
            return cls()
        check_attention(attention, or_none=True)
        if isinstance(attention, str):
            return cls(_named(attention), bam_stages if attention in PLACES else ())
        return cls(lambda point, address: Insertion(point, attention).make())

    def in_block(self, x: Any, layer: str, address: str, *, stage: int) -> Any:
        """Refine the output of `layer`, in a block of `stage`."""
        return x if self.stages else self._refine(x, layer, address, stage)

    def after_stage(self, x: Any, layer: str, *, stage: int) -> Any:
        """Refine the output of `layer`, the last layer of `stage`."""
        return self._refine(x, layer, f"stage{stage}", stage) if stage in self.stages else x

    def _refine(self, x: Any, layer: str, address: str, stage: int) -> Any:
        if self.make is None:
            return x
        self.counts[stage] = self.counts.get(stage, 0) + 1
        point = AttentionPoint(layer, stage, self.counts[stage], tuple(x.shape))
        return self.make(point, address)(x)


def _named(attention: str) -> Make:
    """Return a maker of attention layers that are initialized as in the authors' code.

    A layer has one kernel initializer, here that of the authors' MLPs. The authors initialize
    spatial convolutions like other convolutions. Normalization makes the scale of these irrelevant,
    except for BAM's last convolution, which starts smaller here.
    """
    settings = SETTINGS.get(attention, {})

    def make(point: AttentionPoint, address: str) -> keras.layers.Layer:
        return ATTENTIONS[attention](
            kernel_initializer=initializers.default(), name=f"{address}_{attention}", **settings
        )

    return make
