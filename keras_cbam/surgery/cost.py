"""added_parameters: the number of parameters that attention adds at each point."""

from __future__ import annotations

from typing import NamedTuple

import keras

from keras_cbam.surgery.blocks import open_blocks
from keras_cbam.surgery.graph import read_graph
from keras_cbam.surgery.plan import Factory, plan
from keras_cbam.surgery.points import AttentionPoint, Choice
from keras_cbam.surgery.summary import count_parameters


class AddedParameters(NamedTuple):
    """The parameters that attention adds at one point.

    Attributes:
        point: the `AttentionPoint`.
        parameters: number of parameters of the layer, statistics of normalization included.
        trainable: number of its trainable parameters.
    """

    point: AttentionPoint
    parameters: int
    trainable: int


def added_parameters(
    model: keras.Model, attention: str | Factory = "cbam", *, points: Choice = None
) -> tuple[AddedParameters, ...]:
    """Return the parameters that `attach_attention` would add with the same arguments.

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
        total = count_parameters(layer.weights)
        trainable = count_parameters(layer.trainable_weights)
        added.append(AddedParameters(insertion.point, total, trainable))
    return tuple(added)
