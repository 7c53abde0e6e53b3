"""The classes of a classifier and their scores. A single sigmoid stands for two classes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_cbam.outputs import is_one_sigmoid
from keras_cbam.visualize.probe import one_output


def class_count(model: keras.Model) -> int:
    """Return the number of classes: that of the outputs, or two for a single sigmoid.

    Raises:
        ValueError: if the output of the model is not `(batch, classes)`.
    """
    output = one_output(model)
    shape = tuple(output.shape)
    if len(shape) != 2 or shape[1] is None:
        raise ValueError(f"Expected a classifier, of outputs (batch, classes). Received: {shape}")
    return 2 if is_one_sigmoid(output) else shape[1]


def both_probabilities(scores: Any, known: int) -> Any:
    """Return the probabilities of all classes; for a single sigmoid, those of classes 0 and 1."""
    return ops.concatenate([1 - scores, scores], -1) if scores.shape[-1] < known else scores


def both_scores(scores: Any, known: int) -> Any:
    """Return the scores of all classes before the activation; class 0 has minus class 1's."""
    return ops.concatenate([-scores, scores], -1) if scores.shape[-1] < known else scores
