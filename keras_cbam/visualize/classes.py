"""The classes that a model tells apart, and its scores of them: a lone sigmoid stands for two."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cbam.outputs import is_one_sigmoid
from keras_cbam.visualize.probe import one_output


def class_count(model: keras.Model) -> int:
    """How many classes a classifier tells apart: as many as outputs, of one sigmoid two.

    Raises:
        ValueError: if its output is not `(batch, classes)`.
    """
    output = one_output(model)
    shape = tuple(output.shape)
    if len(shape) != 2 or shape[1] is None:
        raise ValueError(f"Expected a classifier, of outputs (batch, classes). Received: {shape}")
    return 2 if is_one_sigmoid(output) else shape[1]


def both_probabilities(scores: Any, known: int) -> Any:
    """The probabilities of all classes; of one sigmoid those of class 0 and of class 1."""
    return ops.concatenate([1 - scores, scores], -1) if scores.shape[-1] < known else scores


def both_scores(scores: Any, known: int) -> Any:
    """The scores of all classes before the activation; what speaks against class 1 is class 0's."""
    return ops.concatenate([-scores, scores], -1) if scores.shape[-1] < known else scores
