"""added_parameters: what attention would cost at each of its points."""

from __future__ import annotations

from typing import NamedTuple

import keras

from keras_cbam.surgery.blocks import open_blocks
from keras_cbam.surgery.graph import read_graph
from keras_cbam.surgery.plan import Factory, plan
from keras_cbam.surgery.points import AttentionPoint, Choice
from keras_cbam.surgery.summary import count_parameters


class AddedParameters(NamedTuple):
    """What the attention at one point would add.

    Attributes:
        point: the `AttentionPoint`.
        parameters: parameters of the layer there, statistics of normalization included.
        trainable: how many of them train.
    """

    point: AttentionPoint
    parameters: int
    trainable: int


def added_parameters(
    model: keras.Model, attention: str | Factory = "cbam", *, points: Choice = None
) -> tuple[AddedParameters, ...]:
    """Return what `attach_attention` with the same arguments would add.

    Args:
        model: a functional or a built Sequential `keras.Model`.
        attention: as for `attach_attention`.
        points: as for `attach_attention`.

    Returns:
        An `AddedParameters` for each point, in the order of `attention_points`.

    Raises:
        TypeError: as `attach_attention` does.
        ValueError: as `attach_attention` does.

    Example:
        >>> model = keras.applications.ResNet50(weights=None)
        >>> sum(added.trainable for added in added_parameters(model))
        2532592
    """
    added = []
    for insertion in plan(read_graph(open_blocks(model)), attention, points).values():
        layer = insertion.make()
        layer.build(insertion.point.shape)
        added.append(
            AddedParameters(
                insertion.point,
                count_parameters(layer.weights),
                count_parameters(layer.trainable_weights),
            )
        )
    return tuple(added)
