"""start_gates: channel gates that look at what differs between images, from the first step on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cbam.layers import AttentionLayer, ChannelAttention
from keras_cbam.surgery.gate_switch import model_gates

# A hidden unit that varies less than this sees nothing that could be made larger.
LEAST = 1e-6


def start_gates(model: keras.Model, batches: Iterable[Any]) -> None:
    """Give the channel gates of new attention a start from which they learn.

    The hidden units of a channel gate see pooled features. After a ReLU these are positive and
    differ little from image to image. A unit that starts at random is therefore on for all images
    or off for all of them. A few steps of Adam, which move all of its weights in one direction,
    can turn it off for good, and then the gate is a constant.

    This function changes the first kernel of each channel gate, so that over the given images each
    hidden unit has a mean of 0 for each kind of pooling, and a mean square of 1: it is on for about
    half of them. The outputs of the model stay the same, bit for bit, since the last kernel of the
    gate is 0. Gates whose last kernel is not 0 have learned already, and stay as they are.

    Train the first kernel slowly afterwards: `group_rates` of a `training.Recipe` has a rate for
    it, `"squeeze"`.

    Args:
        model: any built `keras.Model`, with CBAM, ChannelAttention or SqueezeExcite that start as
            the identity, as `attach_attention` makes them. BAM normalizes its hidden units by the
            batch and needs no start.
        batches: inputs of the model, batch by batch, such as `[images]`. Some hundred images,
            augmented as they are in training, are enough.

    Raises:
        ValueError: if an attention layer has no weights yet, or if there are no inputs.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(32, 3, activation="relu")(inputs)
        >>> model = keras.Model(inputs, CBAM(reduction_ratio=8, identity_init=True)(x))
        >>> images = np.random.uniform(size=(16, 8, 8, 3))
        >>> before = model.predict(images, verbose=0)
        >>> start_gates(model, [images])
        >>> np.array_equal(model.predict(images, verbose=0), before)
        True
    """
    gates = [gate.owner for gate in model_gates(model) if _is_new(gate.owner)]
    if not gates:
        return
    seen: list[dict[str, list[np.ndarray]]] = [{name: [] for name in gate.pools} for gate in gates]
    for images in batches:
        with _watched(gates, seen):
            model(images, training=False)
    for gate, pooled in zip(gates, seen, strict=True):
        if not all(pooled.values()):
            raise ValueError("Expected at least one batch of inputs. Received none")
        kernel, *bias = gate.squeeze.get_weights()
        features = [np.concatenate(parts) for parts in pooled.values()]
        started = balanced(kernel.reshape(kernel.shape[-2:]), features)
        gate.squeeze.set_weights([started.reshape(kernel.shape), *map(np.zeros_like, bias)])


def balanced(kernel: np.ndarray, features: Sequence[np.ndarray]) -> np.ndarray:
    """A kernel whose units have a mean of 0 over each set of features, and a mean square of 1.

    Args:
        kernel: `(channels, units)`.
        features: sets of features, each `(images, channels)`.
    """
    kernel = kernel.astype("float64")
    means = np.stack([each.mean(0, dtype="float64") for each in features], axis=1)
    if means.shape[1] < means.shape[0]:
        basis, _ = np.linalg.qr(means)
        kernel = kernel - basis @ (basis.T @ kernel)
    units = np.concatenate(features) @ kernel
    spread = np.sqrt(np.square(units).mean(0))
    return kernel / np.where(spread > LEAST, spread, 1.0)


def _is_new(layer: AttentionLayer) -> bool:
    return isinstance(layer, ChannelAttention) and not np.any(layer.excite.get_weights()[0])


@contextmanager
def _watched(
    gates: Sequence[ChannelAttention], seen: Sequence[dict[str, list[np.ndarray]]]
) -> Iterator[None]:
    """Add the pooled features of each gate to what has been seen of it."""

    def watch(gate: ChannelAttention, pooled: dict[str, list[np.ndarray]]) -> None:
        def keep(gates: Any, inputs: Any) -> Any:
            for name, parts in pooled.items():
                features = ops.convert_to_numpy(gate._pool(name, inputs))
                parts.append(features.reshape(len(features), -1))
            return gates

        gate._replace_gates = keep

    for gate, pooled in zip(gates, seen, strict=True):
        watch(gate, pooled)
    try:
        yield
    finally:
        for gate in gates:
            gate._replace_gates = None
