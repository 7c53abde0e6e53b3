"""Defaults of fine-tuning: learning rates, budgets and batch normalization."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Budget:
    """Number of steps of a run.

    A budget counts steps, not epochs, so that a run sees 500 images often enough and 50,000 images
    not too often.

    Attributes:
        head_steps: steps of head and attention on a frozen backbone.
        steps: steps of the whole network.
    """

    head_steps: int
    steps: int


class Rates(NamedTuple):
    """Peak learning rates of a run.

    Attributes:
        learning_rate: rate of the backbone.
        attention_learning_rate: rate of the attention while the whole network learns.
        head_learning_rate: rate of the head.
    """

    learning_rate: float
    attention_learning_rate: float
    head_learning_rate: float


# Least number of epochs of the whole network, even for the largest sets, and greatest number of
# epochs of a phase, for the smallest sets. Each epoch is scored and saved.
LEAST_EPOCHS, MOST_EPOCHS = 2, 100

# The key is whether the backbone has weights. docs/finetune.md shows how these numbers were tested.
BUDGETS: dict[bool, Budget] = {
    True: Budget(head_steps=100, steps=450),
    False: Budget(head_steps=0, steps=1000),
}

# Rates depend on the start of the backbone, and on whether its batch normalization learns.
FRESH = Rates(learning_rate=3e-3, attention_learning_rate=3e-3, head_learning_rate=3e-3)
NORM_TRAINS = Rates(learning_rate=1e-3, attention_learning_rate=3e-3, head_learning_rate=1e-3)
# Frozen batch normalization does not rescale a layer whose weights change, so higher rates can
# destroy the network.
NORM_FROZEN = Rates(learning_rate=1e-4, attention_learning_rate=3e-4, head_learning_rate=1e-3)

# Rates of an adapter. The backbone does not learn, so its rate has no effect.
ADAPTER = Rates(learning_rate=1e-3, attention_learning_rate=1e-3, head_learning_rate=1e-3)
ADAPTER_STEPS = 550

# In the head phase, while the backbone is frozen, the attention learns at this share of its rate.
BESIDE_FROZEN = 0.1

# Momentum of batch normalization in runs of a few hundred steps.
SHORT_MOMENTUM = 0.9

# The features of the frozen backbone fit if the error is below this share of the guessing error.
NEAR = 0.1
# 95 % of a normal distribution lies below this many standard deviations.
QUANTILE = 1.645


def usual(name: str) -> str:
    """Return the default of a rate, in words."""
    tables = (NORM_TRAINS, NORM_FROZEN, FRESH, ADAPTER)
    trained, frozen, fresh, adapter = (getattr(rates, name) for rates in tables)
    told = f"by default {trained:g}"
    if frozen != trained:
        told += f", with frozen or no batch normalization {frozen:g}"
    if fresh != trained:
        told += f", without weights {fresh:g}"
    return told if adapter == trained else f"{told}, for an adapter {adapter:g}"


def default_numbers() -> dict[str, object]:
    """Return all of these numbers by name.

    They change whenever the defaults change what a run with the same options does.
    """
    return {
        "budgets": [asdict(BUDGETS[weights]) for weights in (True, False)],
        "rates": [rates._asdict() for rates in (FRESH, NORM_TRAINS, NORM_FROZEN, ADAPTER)],
        "epochs": [LEAST_EPOCHS, MOST_EPOCHS, ADAPTER_STEPS],
        "beside_frozen": BESIDE_FROZEN,
        "near": [NEAR, QUANTILE],
        "momentum": SHORT_MOMENTUM,
    }


def fits(error: float, images: int, classes: int) -> bool:
    """Return whether the features of the frozen backbone fit the task as they are.

    ImageNet features fit photographs of ImageNet classes. Training that changes such features much
    can lose more than a few thousand images can teach. The test uses the upper bound of the error
    (Wilson 1927). With few images, hardly any may be wrong, and fewer than 25 never show a fit.

    Args:
        error: error of a logistic regression on the features, as a share of the held-out images.
        images: number of held-out images.
        classes: number of classes. The error is compared with the error of guessing.
    """
    prior = QUANTILE**2 / images
    margin = QUANTILE * math.sqrt(error * (1 - error) / images + prior / images / 4)
    upper = (error + prior / 2 + margin) / (1 + prior)
    return upper < NEAR * (1 - 1 / classes)


def epochs_of(steps: int, batches: int, least: int = 0) -> int:
    """Return how many epochs of `batches` batches reach a budget of steps, within bounds."""
    return min(max(math.ceil(steps / batches), least), MOST_EPOCHS)
