"""The gates of a model's attention layers on given inputs, and how far they have moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_cbam.layers import AttentionLayer


@dataclass(frozen=True)
class GateMovement:
    """How far the gates of one attention layer are from 1, where `identity_init` started them.

    Attributes:
        layer: name of the attention layer.
        mean: mean absolute distance from 1 of each of its gates, over the inputs; for CBAM the
            channel gate and the spatial gate, or the one it has.
        largest: the largest absolute distance, likewise.
    """

    layer: str
    mean: tuple[float, ...]
    largest: tuple[float, ...]


def attention_gates(model: keras.Model, inputs: Any) -> dict[str, tuple[np.ndarray, ...]]:
    """Return the gates of every attention layer of a functional model, by layer name.

    Args:
        model: a functional `keras.Model` with attention layers of keras_cbam.
        inputs: a batch of inputs, small enough for all feature maps to fit in memory.

    Returns:
        A dictionary from layer names to tuples of arrays in the shapes of `layer.attention`:
        `(channel, spatial)` for CBAM, one gate for half a CBAM and for the others.
    """
    layers = [layer for layer in model.layers if isinstance(layer, AttentionLayer)]
    if not layers:
        return {}
    probe = keras.Model(model.input, [layer.input for layer in layers])
    features = probe(keras.tree.pack_sequence_as(model.input, keras.tree.flatten(inputs)))
    gates = {}
    for layer, feature in zip(layers, features, strict=True):
        found = layer.attention(feature, training=False)
        found = found if isinstance(found, tuple) else (found,)
        gates[layer.name] = tuple(
            keras.ops.convert_to_numpy(gate) for gate in found if gate is not None
        )
    return gates


def gate_movement(model: keras.Model, inputs: Any) -> list[GateMovement]:
    """Return how far the gates of each layer with `identity_init` have moved from their start.

    Args:
        model: a functional `keras.Model` with attention layers of keras_cbam.
        inputs: a batch of inputs, as for `attention_gates`.

    Returns:
        A `GateMovement` for every such layer, in the model's order.
    """
    movements = []
    for name, gates in attention_gates(model, inputs).items():
        if model.get_layer(name).identity_init:
            away = [np.abs(gate.astype("float64") - 1) for gate in gates]
            movements.append(
                GateMovement(
                    name,
                    tuple(float(a.mean()) for a in away),
                    tuple(float(a.max()) for a in away),
                )
            )
    return movements
