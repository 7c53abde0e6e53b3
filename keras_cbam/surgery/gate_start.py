"""start_gates: channel gates that look at what differs between images, from the first step on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cbam.compiled import compiled, in_batches
from keras_cbam.layers import AttentionLayer, ChannelAttention
from keras_cbam.surgery.gate_switch import gates_passed_to, in_order, model_gates, used_again
from keras_cbam.surgery.use_inputs import rows_of

# A unit that varies less than this share of what it adds up is not scaled up: it would be noise.
LEAST = 1e-5


def start_gates(model: keras.Model, inputs: Any, *, batch_size: int = 32) -> None:
    """Give the channel gates of new attention a start from which they learn, in place.

    The hidden units of a channel gate see pooled features. After a ReLU these are positive and
    differ little from image to image, so that many units that start at random are on for all
    images, or off for all. A few steps of Adam, which move all weights of a unit in one direction,
    can turn it off for good, and then the gate is a constant.

    This function changes the first kernel of each channel gate and sets its first bias to 0. Over
    the given images each unit then has a mean of 0 for each kind of pooling, and a mean square of 1
    over all of them. The outputs of the model stay the same, bit for bit.

    Only gates that start as the identity are changed, those whose last kernel is 0, as
    `attach_attention` makes them. BAM normalizes its hidden units by the batch and needs no start.

    Train the first kernels slowly afterwards. An optimizer of `training.Recipe` with a rate for
    `"attention"` in `group_rates` gives them a tenth of it. If batch normalization in the model is
    going to be trained, call `training.recalibrate` first: gates start from what the layers before
    them give.

    Args:
        model: a built `keras.Model` with attention layers of keras_cbam, on any backend.
        inputs: what the model takes, `(images, height, width, channels)` or channels_first, an
            array or a structure of arrays, or a `keras.utils.PyDataset` of such batches. About 300
            images, augmented as in training, are enough; all of them are held in memory.
        batch_size: images that are run at once. Defaults to `32`.

    Raises:
        ValueError: if an attention layer has no weights yet, is used several times or not at all,
            or if there are no inputs.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(32, 3, activation="relu")(inputs)
        >>> model = keras.Model(inputs, CBAM(reduction_ratio=8, identity_init=True)(x))
        >>> images = np.random.uniform(size=(16, 8, 8, 3))
        >>> before = model.predict(images, verbose=0)
        >>> start_gates(model, images)
        >>> np.array_equal(model.predict(images, verbose=0), before)
        True
    """
    gates = [gate for gate in model_gates(model) if _is_new(gate.owner)]
    if not gates:
        return
    parts = list(rows_of(inputs, batch_size))
    if not parts:
        raise ValueError("Expected at least one input. Received none")
    together = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)

    def pooled(*tensors: Any) -> list[list[Any]]:
        seen: dict[int, list[Any]] = {}

        def keep(index: int, values: Any, features: Any) -> Any:
            if index in seen:
                raise used_again(gates[index])
            layer = gates[index].owner
            seen[index] = [layer._pool(name, features) for name in layer.pools]
            return values

        with gates_passed_to(keep, gates):
            model(keras.tree.pack_sequence_as(together, tensors), training=False)
        return in_order(seen, gates)

    arrays = keras.tree.flatten(together)
    found = in_batches(compiled(pooled, model.variables), arrays, batch_size)
    for gate, features in zip(gates, found, strict=True):
        kernel, *bias = gate.owner.squeeze.get_weights()
        new = balanced(kernel[0, 0], [each.reshape(len(each), -1) for each in features])
        gate.owner.squeeze.set_weights([new[None, None], *map(np.zeros_like, bias)])


def balanced(kernel: np.ndarray, features: Sequence[np.ndarray]) -> np.ndarray:
    """A kernel whose units have a mean of 0 over each set of features, and a mean square of 1.

    The mean is 0 only where there are more channels than sets.

    Args:
        kernel: `(channels, units)`.
        features: sets of features, each `(images, channels)`.
    """
    kernel = kernel.astype("float64")
    together = np.concatenate(features).astype("float64")
    means = np.stack([each.mean(0, dtype="float64") for each in features], axis=1)
    if means.shape[1] < means.shape[0]:
        basis, _ = np.linalg.qr(means)
        kernel = kernel - basis @ (basis.T @ kernel)
    spread = np.sqrt(np.square(together @ kernel).mean(0))
    size = np.sqrt((np.square(together) @ np.square(kernel)).mean(0))
    return kernel / np.where(spread > LEAST * size, spread, 1.0)


def _is_new(layer: AttentionLayer) -> bool:
    return isinstance(layer, ChannelAttention) and not np.any(layer.excite.get_weights()[0])
