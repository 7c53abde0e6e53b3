"""The gates of a model's attention layers on given inputs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_cbam.layers import AttentionLayer


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
