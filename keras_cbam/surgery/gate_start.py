"""start_gates: initialize channel gates so that they respond to differences between images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cbam.compiled import compiled, in_batches
from keras_cbam.layers import AttentionLayer, ChannelAttention
from keras_cbam.surgery.gate_switch import model_gates, run_watched
from keras_cbam.surgery.use_inputs import rows_of

# A unit that varies by less than this share of the terms it sums is not scaled up: it is noise.
LEAST = 1e-5


def start_gates(model: keras.Model, inputs: Any, *, batch_size: int = 32) -> None:
    """Initialize the channel gates of new attention from images, in place, so that they can learn.

    The hidden units of a channel gate read pooled features. After a ReLU, these features are
    positive and differ little between images. Many randomly initialized units are therefore on for
    all images, or off for all images. A few steps of Adam move all weights of a unit in one
    direction and can turn the unit off for good. The gate is then a constant.

    This function changes the first kernel of each channel gate and sets its first bias to 0. Over
    the given images, each unit then has a mean of 0 for each kind of pooling, and a mean square of
    1 over all kinds together. The outputs of the model stay the same, bit for bit.

    The function changes only gates that start as the identity, as `attach_attention` creates them:
    those whose last kernel is 0. BAM normalizes its hidden units by the batch and does not need it.

    Train the first kernels slowly afterwards. If `group_rates` of a `training.Recipe` has a rate
    for `"attention"`, its optimizer trains the first kernels at a tenth of that rate. If you will
    train batch normalization in the model, call `training.recalibrate` first, because the gates
    start from the outputs of the layers before them.

    Args:
        model: a built `keras.Model` with attention layers of keras_cbam, on any backend.
        inputs: inputs of the model, `(images, height, width, channels)` or channels_first: an array
            or a structure of arrays, or a `keras.utils.PyDataset` of such batches. About 300
            images, augmented as in training, are enough. All of them are held in memory.
        batch_size: number of images per batch. Defaults to `32`.

    Raises:
        ValueError: if an attention layer has no weights yet, or is used several times or not at
            all; or if there are no inputs.

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
        def pool(index: int, values: Any, features: Any) -> tuple[list[Any], Any]:
            layer = gates[index].owner
            return [layer._pool(name, features) for name in layer.pools], values

        batch = keras.tree.pack_sequence_as(together, tensors)
        _, found = run_watched(model, batch, gates, pool)
        # Each layer is used once.
        return [calls[0] for calls in found]

    arrays = keras.tree.flatten(together)
    found = in_batches(compiled(pooled, model.variables), arrays, batch_size)
    for gate, features in zip(gates, found, strict=True):
        kernel, *bias = gate.owner.squeeze.get_weights()
        new = balanced(kernel[0, 0], [each.reshape(len(each), -1) for each in features])
        gate.owner.squeeze.set_weights([new[None, None], *map(np.zeros_like, bias)])


def balanced(kernel: np.ndarray, features: Sequence[np.ndarray]) -> np.ndarray:
    """Return a kernel whose units have mean 0 over each set of features and mean square 1 over all.

    The mean is 0 only if there are more channels than sets.

    Args:
        kernel: `(channels, units)`.
        features: sets of features, each of shape `(images, channels)`.
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
