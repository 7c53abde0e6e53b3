"""The gates of a model watched, and replaced by constants, in one compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cbam.compiled import compiled
from keras_cbam.layers import BAM, CBAM, AttentionLayer, SpatialAttention
from keras_cbam.surgery.addresses import walk


class Gate(NamedTuple):
    """One gate of an attention layer.

    Attributes:
        layer: address of the attention layer; inside a nested model that model's name, a slash,
            and the layer's.
        kind: `"channel"`, a gate for each channel; `"spatial"`, one for each place; `"both"`, one
            for each place of each channel, as BAM has.
        owner: the layer that computes it: for CBAM one of its halves.
    """

    layer: str
    kind: str
    owner: AttentionLayer

    @property
    def channels(self) -> int:
        """How many channels the gate has."""
        return 1 if self.kind == "spatial" else self.owner.excite.filters


class GateMoments(NamedTuple):
    """Sums over the inputs of one batch, from which statistics of all batches are put together.

    Attributes:
        mean: mean over the inputs at each place and channel, `(height, width, channels)`.
        squares: sum of the squared distances from that mean, likewise.
        over_places: the standard deviation over the places, its mean over the channels, summed
            over the inputs: a number.
    """

    mean: Any
    squares: Any
    over_places: Any


def model_gates(model: keras.Model) -> tuple[Gate, ...]:
    """Return the gates of all attention layers of keras_cbam in a model, nested models included.

    Args:
        model: any `keras.Model`.
    """
    found = []
    for address, layer in walk(model):
        if not isinstance(layer, AttentionLayer):
            continue
        found += [Gate(address, _kind(owner), owner) for owner in _owners(layer)]
    return tuple(found)


def _owners(layer: AttentionLayer) -> list[AttentionLayer]:
    """The layers that compute the gates of an attention layer, one each."""
    if not isinstance(layer, CBAM):
        return [layer]
    return [half for half in (layer.channel_attention, layer.spatial_attention) if half]


def _kind(layer: AttentionLayer) -> str:
    if isinstance(layer, SpatialAttention):
        return "spatial"
    return "both" if isinstance(layer, BAM) else "channel"


class GateSwitch:
    """Runs a model with any of its gates replaced by constants.

    Which gates are replaced is data, so that one graph is compiled, whatever is asked of it. The
    model is used as it is: no copy is made, and afterwards its layers are as before. It must not
    be called elsewhere while `run` works.

    Args:
        model: any `keras.Model` with attention layers of keras_cbam.
        answers: takes the outputs of the model and returns what is wanted of them, tensors with a
            row for each input.

    Attributes:
        gates: the model's gates.
    """

    def __init__(self, model: keras.Model, answers: Callable[[Any], Any] = lambda outputs: outputs):
        self.gates = model_gates(model)
        self._model = model
        self._answers = answers
        self._function = compiled(self._trace, model.variables)

    def run(self, inputs: Any, weights: np.ndarray, constants: Any, replaced: np.ndarray) -> Any:
        """Run a batch in inference mode.

        Args:
            inputs: a batch, as the model takes it; each size is compiled anew.
            weights: `(inputs,)`, 1 for the inputs that count in the statistics, 0 for the others.
            constants: for each gate an array `(channels,)`.
            replaced: `(gates,)`, 1 where the constants take the gate's place, else 0.

        Returns:
            The answers, and for each gate `GateMoments` of its values before it was replaced, all
            as NumPy arrays.

        Raises:
            ValueError: if an attention layer is used several times.
        """
        data = keras.tree.map_structure(
            ops.convert_to_tensor,
            (inputs, np.float32(weights), [np.float32(c) for c in constants], np.float32(replaced)),
        )
        with self._switched():
            found = self._function(*data)
        return keras.tree.map_structure(ops.convert_to_numpy, found)

    @contextmanager
    def _switched(self) -> Iterator[None]:
        """Let the layers call `_replace` with their gates; TensorFlow and JAX trace the calls."""
        for index, gate in enumerate(self.gates):
            gate.owner._replace_gates = lambda gates, index=index: self._replace(index, gates)
        try:
            yield
        finally:
            for gate in self.gates:
                gate.owner._replace_gates = None

    def _trace(self, inputs: Any, weights: Any, constants: Any, replaced: Any) -> Any:
        self._weights, self._constants, self._replaced = weights, constants, replaced
        self._moments: dict[int, GateMoments] = {}
        answers = self._answers(self._model(inputs, training=False))
        moments = [self._moments[index] for index in range(len(self.gates))]
        del self._weights, self._constants, self._replaced, self._moments
        return answers, moments

    def _replace(self, index: int, gates: Any) -> Any:
        owner = self.gates[index].owner
        if index in self._moments:
            raise ValueError(
                f"Layer {self.gates[index].layer} is used several times, so that it has no one "
                "gate to replace."
            )
        values = owner._to_channels_last(gates)
        self._moments[index] = _moments(values, self._weights)
        constants = ops.cast(self._constants[index], values.dtype)
        chosen = ops.where(self._replaced[index] > 0, constants, values)
        return owner._from_channels_last(chosen)


def _moments(gates: Any, weights: Any) -> GateMoments:
    """The moments of gates `(inputs, height, width, channels)`."""
    weights = ops.cast(weights, gates.dtype)
    rows = ops.reshape(weights, (-1, 1, 1, 1))
    # Counted from the first input, so that the mean of a constant gate is that constant exactly.
    mean = gates[0] + ops.sum((gates - gates[0]) * rows, axis=0) / ops.sum(weights)
    squares = ops.sum(ops.square(gates - mean) * rows, axis=0)
    over_places = ops.mean(ops.std(gates, axis=(1, 2)), axis=-1)
    return GateMoments(mean, squares, ops.sum(over_places * weights))
