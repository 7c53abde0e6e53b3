"""The inputs of a model as arrays, and the choice of the input that a layer sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cbam.surgery.addresses import reached
from keras_cbam.surgery.graph import as_functional, read_graph


def input_arrays(model: keras.Model, images: Any) -> list[np.ndarray]:
    """Return an array for each input of a model, in the order of the inputs.

    Args:
        model: a functional or a built Sequential model.
        images: an array. For a model of several inputs, a structure of arrays, as the model takes
            it, or a dictionary by the names of the inputs.

    Raises:
        ValueError: if the number of arrays or a rank does not fit the inputs, or if the arrays
            differ in length.
    """
    inputs = as_functional(model).inputs
    if len(inputs) == 1 and not isinstance(images, dict):
        return [np.asarray(images)]
    if isinstance(images, dict) and not isinstance(model.input, dict):
        images = [images[each.name] for each in inputs if each.name in images]
    arrays = [np.asarray(array) for array in keras.tree.flatten(images)]
    ranks = [len(each.shape) for each in inputs]
    fits = [array.ndim for array in arrays] == ranks and len({len(array) for array in arrays}) == 1
    if not fits:
        raise ValueError(
            f"Expected an array for each of the inputs {[each.name for each in inputs]}, of ranks "
            f"{ranks} and of one length. Received: arrays of shapes "
            f"{[array.shape for array in arrays]}"
        )
    return arrays


def packed(model: keras.Model, tensors: Sequence[Any]) -> Any:
    """Return tensors in the structure that a model takes."""
    return keras.tree.pack_sequence_as(model.input, list(tensors))


def image_input(model: keras.Model, layer: keras.layers.Layer) -> int:
    """Return the index of the first image input that a layer reads.

    Raises:
        ValueError: if the layer reads no image.
    """
    inputs = as_functional(model).inputs
    if len(inputs) == 1:
        return 0
    calls = [node for node in read_graph(model, attention=True) if node.operation is layer]
    read = {id(node.operation) for node in reached(calls, lambda node: node.inputs)}
    for index, tensor in enumerate(inputs):
        if len(tensor.shape) == 4 and id(tensor._keras_history.operation) in read:
            return index
    raise ValueError(
        f"Expected a layer that reads an image, (batch, height, width, channels). "
        f"Received: {layer.name}"
    )


def largest_input(model: keras.Model) -> int:
    """Return the index of the first input of the highest rank."""
    ranks = [len(tensor.shape) for tensor in as_functional(model).inputs]
    return ranks.index(max(ranks))
