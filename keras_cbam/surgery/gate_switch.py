"""The gates of a model watched, and replaced by constants, in one compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_cbam.compiled import compiled
from keras_cbam.layers import BAM, CBAM, AttentionLayer, SpatialAttention
from keras_cbam.surgery.addresses import layers_inside, walk


class Gate(NamedTuple):
    """One gate of an attention layer.

    Attributes:
        layer: address of the attention layer; inside a nested model or a layer of one's own that
            one's name, a slash, and the layer's.
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
    """Return the gates of all attention layers of keras_cbam in a model.

    Nested models are looked into, and so are layers that hold layers as attributes or in lists.

    Args:
        model: a built `keras.Model`.

    Raises:
        ValueError: if an attention layer has no weights yet.
    """
    # By identity: a subclassed model can hold a layer at two places.
    found: dict[int, Gate] = {}
    for address, layer in walk(model):
        for owner in layers_inside(layer):
            if isinstance(owner, AttentionLayer) and not isinstance(owner, CBAM):
                found.setdefault(id(owner), Gate(address, _kind(owner), owner))
    for gate in found.values():
        if not gate.owner.built:
            raise ValueError(
                f"Expected a model that has been built. Received: model {model.name}, whose layer "
                f"{gate.layer} has no weights yet; call it once"
            )
    return tuple(found.values())


def _kind(layer: AttentionLayer) -> str:
    if isinstance(layer, SpatialAttention):
        return "spatial"
    return "both" if isinstance(layer, BAM) else "channel"


@contextmanager
def gates_passed_to(
    replace: Callable[[int, Any, Any], Any], gates: Sequence[Gate]
) -> Iterator[None]:
    """Let layers put in place of their gates what a function makes of them.

    TensorFlow and JAX call it while they trace a graph.

    Args:
        replace: `replace(index, values, inputs)` is given a gate's index, its values and what they
            are computed from.
        gates: the gates.
    """
    for index, gate in enumerate(gates):
        gate.owner._replace_gates = partial(replace, index)
    try:
        yield
    finally:
        for gate in gates:
            gate.owner._replace_gates = None


class GateSwitch:
    """Runs a model with any of its gates replaced by constants.

    Which gates are replaced is data, so that one graph is compiled, whatever is asked of it. The
    model is used as it is: no copy is made, and afterwards its layers are as before. It must not
    be called elsewhere while `run` works.

    Args:
        model: a built `keras.Model` with attention layers of keras_cbam.
        answers: takes the outputs of the model and returns what is wanted of them, tensors with a
            row for each input.

    Attributes:
        gates: the model's gates.
        batch_size: rows of the largest batch so far, to which smaller ones are filled up.
    """

    def __init__(self, model: keras.Model, answers: Callable[[Any], Any] = lambda outputs: outputs):
        self.gates = model_gates(model)
        self.batch_size = 0
        self._model = model
        self._answers = answers
        self._function = compiled(self._trace, model.variables)

    def run(self, inputs: Any, constants: Any, replaced: np.ndarray) -> Any:
        """Run a batch in inference mode.

        Args:
            inputs: NumPy arrays of at least one row, as the model takes them.
            constants: for each gate an array `(channels,)`.
            replaced: `(gates,)`, 1 where the constants take the gate's place, else 0.

        Returns:
            The answers, and for each gate `GateMoments` of its values before it was replaced, all
            as NumPy arrays.

        Raises:
            ValueError: if an attention layer is used several times, or not at all.
        """
        count = len(keras.tree.flatten(inputs)[0])
        self.batch_size = max(self.batch_size, count)
        # A size more would be compiled anew. The rows that fill up count nowhere.
        rows = np.minimum(np.arange(self.batch_size), count - 1)
        filled = keras.tree.map_structure(lambda array: array[rows], inputs)
        data = keras.tree.map_structure(
            ops.convert_to_tensor,
            (
                filled,
                np.float32(np.arange(self.batch_size) < count),
                [np.float32(each) for each in constants],
                np.float32(replaced),
            ),
        )
        with gates_passed_to(lambda index, gates, _: self._replace(index, gates), self.gates):
            answers, moments = self._function(*data)
        answers = keras.tree.map_structure(lambda each: ops.convert_to_numpy(each)[:count], answers)
        return answers, keras.tree.map_structure(ops.convert_to_numpy, moments)

    def _trace(self, inputs: Any, weights: Any, constants: Any, replaced: Any) -> Any:
        self._weights, self._constants, self._replaced = weights, constants, replaced
        self._moments: dict[int, GateMoments] = {}
        answers = self._answers(self._model(inputs, training=False))
        moments = in_order(self._moments, self.gates)
        del self._weights, self._constants, self._replaced, self._moments
        return answers, moments

    def _replace(self, index: int, gates: Any) -> Any:
        owner = self.gates[index].owner
        if index in self._moments:
            raise used_again(self.gates[index])
        values = owner._to_channels_last(gates)
        self._moments[index] = _moments(values, self._weights)
        constants = ops.cast(self._constants[index], values.dtype)
        chosen = ops.where(self._replaced[index] > 0, constants, values)
        return owner._from_channels_last(chosen)


def in_order(found: Mapping[int, Any], gates: Sequence[Gate]) -> list[Any]:
    """What was found at each gate, by its index.

    Raises:
        ValueError: if the model did not use one of the gates.
    """
    for index, gate in enumerate(gates):
        if index not in found:
            raise ValueError(
                "Expected attention layers that the model uses in inference. Received: "
                f"{gate.layer}, which it holds but does not use"
            )
    return [found[index] for index in range(len(gates))]


def used_again(gate: Gate) -> ValueError:
    """The error for a layer that a model uses several times."""
    return ValueError(
        f"Expected attention layers that the model uses once. Received: {gate.layer}, which it "
        "uses several times"
    )


def _moments(gates: Any, weights: Any) -> GateMoments:
    """The moments of gates `(inputs, height, width, channels)`."""
    weights = ops.cast(weights, gates.dtype)
    rows = ops.reshape(weights, (-1, 1, 1, 1))
    # Counted from the first input, so that the mean of a constant gate is that constant exactly.
    mean = gates[0] + ops.sum((gates - gates[0]) * rows, axis=0) / ops.sum(weights)
    squares = ops.sum(ops.square(gates - mean) * rows, axis=0)
    over_places = ops.mean(ops.std(gates, axis=(1, 2)), axis=-1)
    return GateMoments(mean, squares, ops.sum(over_places * weights))
