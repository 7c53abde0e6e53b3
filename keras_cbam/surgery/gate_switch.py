"""Measure the gates of a model, and replace them by constants, in one compiled graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
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
        layer: address of the attention layer. Inside a nested model or a custom layer it is
            `<model or custom layer>/<layer>`.
        kind: `"channel"` for one gate value per channel, `"spatial"` for one value per place, or
            `"both"` for one value per channel and place, as in BAM.
        owner: the layer that computes the gate. For CBAM it is one of the two halves.
    """

    layer: str
    kind: str
    owner: AttentionLayer

    @property
    def channels(self) -> int:
        """Number of channels of the gate."""
        return 1 if self.kind == "spatial" else self.owner.excite.filters


class GateMoments(NamedTuple):
    """Sums over the inputs of one batch, from which the statistics of all batches are computed.

    Attributes:
        mean: mean over the inputs at each place and channel, `(height, width, channels)`.
        squares: sum of the squared distances from that mean, of the same shape.
        over_places: standard deviation over the places, averaged over the channels and summed over
            the inputs; a scalar.
    """

    mean: Any
    squares: Any
    over_places: Any


def model_gates(model: keras.Model) -> tuple[Gate, ...]:
    """Return the gates of all attention layers of keras_cbam in a model.

    The function also finds attention inside nested models, and inside layers that hold layers as
    attributes or in lists.

    Args:
        model: a built `keras.Model`.

    Raises:
        ValueError: if an attention layer has no weights yet.
    """
    # Keyed by identity, since a subclassed model can hold a layer in two places.
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


def run_watched(
    model: keras.Model,
    inputs: Any,
    gates: Sequence[Gate],
    watch: Callable[[int, Any, Any], tuple[Any, Any]],
    repeated: Collection[int] = (),
) -> tuple[Any, list[list[Any]]]:
    """Run a model in inference mode, and pass each of its gates to `watch`.

    Args:
        model: a built `keras.Model`. The call may be traced into a graph.
        inputs: a batch of inputs of the model, as tensors.
        gates: the gates to watch.
        watch: `watch(index, values, features)` receives the index of a gate, its values and the
            inputs of its layer. It returns a result, and the values to use in place of the gate.
        repeated: ids of the layers that the model may use several times.

    Returns:
        The outputs of the model, and for each gate the results of `watch`, one for each call.

    Raises:
        ValueError: if an attention layer is used several times, or not at all.
    """
    found: list[list[Any]] = [[] for _ in gates]

    def replace(index: int, values: Any, features: Any) -> Any:
        if found[index] and id(gates[index].owner) not in repeated:
            raise ValueError(
                "Expected attention layers that the model uses once. Received: "
                f"{gates[index].layer}, which it uses several times"
            )
        result, values = watch(index, values, features)
        found[index].append(result)
        return values

    for index, gate in enumerate(gates):
        gate.owner._replace_gates = partial(replace, index)
    try:
        outputs = model(inputs, training=False)
    finally:
        for gate in gates:
            gate.owner._replace_gates = None
    for gate, results in zip(gates, found, strict=True):
        if not results:
            raise ValueError(
                "Expected attention layers that the model uses in inference. Received: "
                f"{gate.layer}, which it holds but does not use"
            )
    return outputs, found


class GateSwitch:
    """Runs a model with any of its gates replaced by constants.

    The choice of gates is an input of the compiled graph, so one graph serves all choices. The
    class runs the model itself, not a copy, and leaves its layers as they were. Do not call the
    model elsewhere while `run` works.

    Args:
        model: a built `keras.Model` with attention layers of keras_cbam.
        answers: a function from the outputs of the model to its answers, tensors with one row per
            input.

    Attributes:
        gates: the gates of the model.
        batch_size: number of rows of the largest batch so far. Smaller batches are padded to it.
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
            inputs: inputs of the model, as NumPy arrays with at least one row.
            constants: one array `(channels,)` for each gate.
            replaced: `(gates,)`, 1 for gates that the constants replace, else 0.

        Returns:
            The answers, and for each gate the `GateMoments` of its values before the replacement,
            all as NumPy arrays.

        Raises:
            ValueError: if an attention layer is used several times, or not at all.
        """
        count = len(keras.tree.flatten(inputs)[0])
        self.batch_size = max(self.batch_size, count)
        # Each further batch size would be compiled again. The padding rows have a weight of 0.
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
        answers, moments = self._function(*data)
        answers = keras.tree.map_structure(lambda each: ops.convert_to_numpy(each)[:count], answers)
        return answers, keras.tree.map_structure(ops.convert_to_numpy, moments)

    def _trace(self, inputs: Any, weights: Any, constants: Any, replaced: Any) -> Any:
        def switch(index: int, gates: Any, _: Any) -> tuple[GateMoments, Any]:
            owner = self.gates[index].owner
            values = owner._to_channels_last(gates)
            constant = ops.cast(constants[index], values.dtype)
            chosen = ops.where(replaced[index] > 0, constant, values)
            return _moments(values, weights), owner._from_channels_last(chosen)

        outputs, moments = run_watched(self._model, inputs, self.gates, switch)
        # Each layer is used once.
        return self._answers(outputs), [calls[0] for calls in moments]


def _moments(gates: Any, weights: Any) -> GateMoments:
    """Return the moments of gates of shape `(inputs, height, width, channels)`."""
    weights = ops.cast(weights, gates.dtype)
    rows = ops.reshape(weights, (-1, 1, 1, 1))
    # Relative to the first input, so that the mean of a constant gate is exactly that constant.
    mean = gates[0] + ops.sum((gates - gates[0]) * rows, axis=0) / ops.sum(weights)
    squares = ops.sum(ops.square(gates - mean) * rows, axis=0)
    over_places = ops.mean(ops.std(gates, axis=(1, 2)), axis=-1)
    return GateMoments(mean, squares, ops.sum(over_places * weights))
