"""Compare the answers of a model with its answers after gates were replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# Attention, or a gate, matters if at least this share of the answers changes.
MATTERS = 0.01
EPSILON = 1e-7


class NotFiniteError(ValueError):
    """Raised if answers of a model are infinite or not numbers."""


@dataclass(frozen=True)
class Replacement:
    """The change of a model's answers when gates are replaced by their means.

    Attributes:
        agreement: share of the answers that stay the same, in [0, 1].
        kl_divergence: mean Kullback-Leibler divergence of the new probabilities from those of the
            unchanged model, in nats.
        accuracy: share of the answers that are right; `None` without labels.
    """

    agreement: float
    kl_divergence: float
    accuracy: float | None

    @property
    def matters(self) -> bool:
        """Whether at least 1 % of the answers change."""
        # A share of few inputs is not exact in floating point.
        return 1 - self.agreement >= MATTERS - 1e-9


def checked(answers: Any) -> np.ndarray:
    """Return the answers, `(batch, ..., classes)`, after checking that all are finite."""
    found = keras.tree.flatten(answers)
    if len(found) != 1 or found[0].ndim < 2:
        shapes = [each.shape for each in found]
        raise ValueError(
            "Expected answers (batch, classes): the only output of the model, or the result of "
            f"`answers`. Received: shapes {shapes}"
        )
    if not np.isfinite(found[0]).all():
        raise NotFiniteError(
            "Expected answers that are finite. Received: an infinite value, or not a number"
        )
    return found[0]


class Comparison:
    """Compares answers with those of the unchanged model.

    Args:
        plain: answers of the unchanged model, `(inputs, ..., classes)`.
        labels: `(inputs,)`, or `None`.
        judged: as for `attention_use`.
    """

    def __init__(
        self,
        plain: np.ndarray,
        labels: np.ndarray | None,
        judged: Callable[[np.ndarray], np.ndarray] | None,
    ):
        if labels is not None and plain.ndim != 2:
            raise ValueError(
                "Expected no labels for a model with several answers per input. "
                f"Received: answers of shape {plain.shape} and labels"
            )
        self._plain = plain
        self._labels = labels
        self._judged = judged
        # All answers of the unchanged model together decide whether they are probabilities.
        if plain.shape[-1] == 1:
            self._are_probabilities = bool(((plain >= 0) & (plain <= 1)).all())
        else:
            sums = plain.sum(-1, dtype="float64")
            self._are_probabilities = bool((plain >= 0).all()) and np.allclose(sums, 1, atol=1e-2)

    def __call__(self, answers: np.ndarray, chosen: np.ndarray) -> Replacement:
        """Return the change of the answers to the chosen inputs.

        Args:
            answers: the new answers, only to the chosen inputs.
            chosen: indices of the chosen inputs among all inputs.
        """
        old = self._probabilities(self._plain[chosen])
        new = self._probabilities(answers)
        labels = None if self._labels is None else self._labels[chosen]
        if self._judged is not None:
            counted = self._judged(old)
            old, new = old[counted], new[counted]
            labels = None if labels is None else labels[counted]
        if not len(old):
            return Replacement(agreement=1.0, kl_divergence=0.0, accuracy=None)
        logarithms = np.log(np.clip(old, EPSILON, None)) - np.log(np.clip(new, EPSILON, None))
        told = new.argmax(1)
        return Replacement(
            agreement=float((old.argmax(1) == told).mean()),
            kl_divergence=max(float((old * logarithms).sum(1).mean()), 0.0),
            accuracy=None if labels is None else float((told == labels).mean()),
        )

    def _probabilities(self, answers: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes, `(answers, classes)`."""
        values = answers.reshape(-1, answers.shape[-1]).astype("float64")
        if values.shape[1] == 1:
            # The column is the second of two classes; the logit of the first is 0.
            second = values if self._are_probabilities else 1 / (1 + np.exp(-values))
            return np.concatenate([1 - second, second], axis=1)
        if not self._are_probabilities:
            values = np.exp(values - values.max(1, keepdims=True))
        return values / values.sum(1, keepdims=True)
