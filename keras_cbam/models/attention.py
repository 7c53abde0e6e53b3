"""The attention of a network: which layers, with the authors' settings, and where they stand."""

from __future__ import annotations

from typing import Any

import keras

from keras_cbam.models import initializers
from keras_cbam.surgery import ATTENTIONS, AttentionPoint
from keras_cbam.surgery.plan import PLACES, Factory, Insertion

# The authors' networks start the normalization of the spatial gate at zero.
SETTINGS: dict[str, dict[str, Any]] = {
    "cbam": {"gamma_initializer": "zeros"},
    "spatial": {"gamma_initializer": "zeros"},
}


class Attention:
    """Puts attention into a network while it is built.

    Args:
        attention: `None`, a name, or a factory of an `AttentionPoint`.
        bottlenecks: the stages behind which a name stands that does not go into the blocks.

    Raises:
        ValueError: on an unknown name.
        TypeError: if `attention` is a layer or a class.
    """

    def __init__(self, attention: str | Factory | None, bottlenecks: tuple[int, ...]):
        if isinstance(attention, type | keras.layers.Layer):
            raise TypeError(
                "Argument `attention` must be None, a name or a factory that receives a point, "
                f"such as `lambda point: CBAM(8)`. Received: attention={attention}"
            )
        named = isinstance(attention, str) and attention in ATTENTIONS
        if not (attention is None or named or callable(attention)):
            raise ValueError(
                f"Argument `attention` must be None, one of {tuple(ATTENTIONS)} or a callable. "
                f"Received: attention={attention}"
            )
        self.attention = attention
        self.bottlenecks = bottlenecks if attention in PLACES else ()
        self.counts: dict[int, int] = {}

    def in_block(self, x: Any, layer: str, address: str, *, stage: int) -> Any:
        """Refine the output of `layer`, in a block of `stage`."""
        return x if self.bottlenecks else self._refine(x, layer, address, stage)

    def after_stage(self, x: Any, layer: str, *, stage: int) -> Any:
        """Refine the output of `layer`, the last of `stage`."""
        here = stage in self.bottlenecks
        return self._refine(x, layer, f"stage{stage}", stage) if here else x

    def _refine(self, x: Any, layer: str, address: str, stage: int) -> Any:
        attention = self.attention
        if attention is None:
            return x
        if isinstance(attention, str):
            return _named(attention, f"{address}_{attention}")(x)
        self.counts[stage] = self.counts.get(stage, 0) + 1
        point = AttentionPoint(layer, stage, self.counts[stage], tuple(x.shape))
        return Insertion(point, attention).make()(x)


def _named(attention: str, name: str) -> keras.layers.Layer:
    """The attention layer as the authors start it.

    A layer has one initializer, here that of their MLPs. They start spatial convolutions as other
    convolutions; those are normalized, so that their scale is no matter, but for BAM's last, which
    starts smaller here.
    """
    settings = SETTINGS.get(attention, {})
    return ATTENTIONS[attention](kernel_initializer=initializers.default(), name=name, **settings)
