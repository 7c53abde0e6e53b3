"""Compute the gates of a model's attention layers for given inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cbam.surgery.addresses import has_layers, layers_inside, walk
from keras_cbam.surgery.gate_switch import model_gates, run_watched


class SeenGate(NamedTuple):
    """The values of one gate for a batch of inputs.

    Attributes:
        layer: address of the attention layer.
        kind: `"channel"`, `"spatial"`, or, for BAM, `"both"`.
        values: `(inputs, height, width, channels)`, or `(inputs, frames, height, width, channels)`
            for a layer inside `TimeDistributed`.
        places: height and width of the feature map.
    """

    layer: str
    kind: str
    values: Any
    places: tuple[int, int]


def seen_gates(model: keras.Model, inputs: Any) -> list[SeenGate]:
    """Return the gates that the attention layers of a model compute.

    Args:
        model: a built `keras.Model`. The call may be traced into a graph.
        inputs: a batch of inputs of the model, as tensors.

    Raises:
        ValueError: if an attention layer is used several times, or not at all.
    """
    gates = model_gates(model)
    framed = _inside_time_distributed(model)

    def see(index: int, values: Any, features: Any) -> tuple[SeenGate, Any]:
        gate = gates[index]
        height, width = (features.shape[axis] for axis in gate.owner.spatial_axes)
        shown = gate.owner._to_channels_last(values)
        return SeenGate(gate.layer, gate.kind, shown, (height, width)), values

    _, found = run_watched(model, inputs, gates, see, repeated=framed)
    seen = []
    for gate, calls in zip(gates, found, strict=True):
        first = calls[0]
        if id(gate.owner) in framed:
            first = first._replace(values=ops.stack([each.values for each in calls], axis=1))
        seen.append(first)
    return seen


def attention_gates(model: keras.Model, inputs: Any) -> dict[str, dict[str, np.ndarray]]:
    """Return the gates of all attention layers of a functional model, as NumPy arrays.

    Args:
        model: a functional `keras.Model` with attention layers of keras_cbam.
        inputs: a batch of inputs, small enough for all feature maps to fit in memory.

    Returns:
        A dictionary from layer addresses to dictionaries from the kind of gate to its values. See
        `SeenGate` for kinds and shapes.
    """
    gates: dict[str, dict[str, np.ndarray]] = {}
    packed = keras.tree.pack_sequence_as(model.input, keras.tree.flatten(inputs))
    for gate in seen_gates(model, packed):
        gates.setdefault(gate.layer, {})[gate.kind] = ops.convert_to_numpy(gate.values)
    return gates


def _inside_time_distributed(model: keras.Model) -> set[int]:
    """Return the ids of the layers that `TimeDistributed` calls for each frame."""
    wrapper = keras.layers.TimeDistributed
    layers = walk(model, lambda layer: not isinstance(layer, wrapper) and has_layers(layer))
    return {
        id(inside)
        for _, layer in layers
        if isinstance(layer, wrapper)
        for inside in layers_inside(layer)
    }
