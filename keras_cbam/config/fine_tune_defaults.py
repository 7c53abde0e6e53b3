"""What fine-tuning does where the user does not say: rates, budgets, batch normalization."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Budget:
    """Steps of a run.

    A budget is a number of steps, not of epochs, so that 500 images are seen often enough and
    50,000 not too often.

    Attributes:
        head_steps: steps of head and attention beside a frozen backbone.
        steps: steps of the whole network.
    """

    head_steps: int
    steps: int


@dataclass(frozen=True)
class Rates:
    """Peak rates of a run.

    Attributes:
        learning_rate: of the backbone.
        attention_learning_rate: of the attention while the whole network learns.
        head_learning_rate: of the head.
    """

    learning_rate: float
    attention_learning_rate: float
    head_learning_rate: float


# Epochs of the whole network that even the largest set gets, and of a phase that the smallest gets.
# Each epoch is scored and saved.
LEAST_EPOCHS, MOST_EPOCHS = 2, 100

# By whether the backbone has weights. docs/finetune.md has the test of these numbers.
BUDGETS: dict[bool, Budget] = {
    True: Budget(head_steps=100, steps=450),
    False: Budget(head_steps=0, steps=1000),
}

# By what the backbone starts from, and whether its batch normalization learns.
FRESH = Rates(learning_rate=3e-3, attention_learning_rate=3e-3, head_learning_rate=3e-3)
NORM_TRAINS = Rates(learning_rate=1e-3, attention_learning_rate=3e-3, head_learning_rate=1e-3)
# Frozen batch normalization does not rescale a layer whose weights change, so that higher rates can
# destroy the network.
NORM_FROZEN = Rates(learning_rate=1e-4, attention_learning_rate=3e-4, head_learning_rate=1e-3)

# An adapter. The backbone does not learn, so its rate has no effect.
ADAPTER = Rates(learning_rate=1e-3, attention_learning_rate=1e-3, head_learning_rate=1e-3)
ADAPTER_STEPS = 550

# The share of its rate at which the attention learns while the backbone is frozen.
BESIDE_FROZEN = 0.1

# Momentum of batch normalization in runs of a few hundred steps.
SHORT_MOMENTUM = 0.9

# Below this error, as a share of that of guessing, the features of the frozen backbone fit.
NEAR = 0.1
# 95 % of a normal distribution lies below this many standard deviations.
QUANTILE = 1.645


def usual(name: str) -> str:
    """What a rate is by default, in words."""
    tables = (NORM_TRAINS, NORM_FROZEN, FRESH, ADAPTER)
    trained, frozen, fresh, adapter = (getattr(rates, name) for rates in tables)
    told = f"by default {trained:g}"
    if frozen != trained:
        told += f", with frozen or no batch normalization {frozen:g}"
    if fresh != trained:
        told += f", without weights {fresh:g}"
    return told if adapter == trained else f"{told}, of an adapter {adapter:g}"


def default_recipe() -> dict[str, object]:
    """All of these numbers, by name: what changes where a run of the same options does."""
    return {
        "budgets": [asdict(BUDGETS[weights]) for weights in (True, False)],
        "rates": [asdict(rates) for rates in (FRESH, NORM_TRAINS, NORM_FROZEN, ADAPTER)],
        "epochs": [LEAST_EPOCHS, MOST_EPOCHS, ADAPTER_STEPS],
        "beside_frozen": BESIDE_FROZEN,
        "near": [NEAR, QUANTILE],
    }


def fits(error: float, images: int, classes: int) -> bool:
    """Whether the features of the frozen backbone fit the task as they are.

    ImageNet's do for photographs of its own classes. Training that changes them much can cost
    more there than a few thousand images can teach. The upper bound of the error counts (Wilson
    1927), so of few images hardly any may be wrong, and fewer than 25 never show a fit.

    Args:
        error: share of the images held out that a logistic regression on the features tells wrong.
        images: how many are held out.
        classes: how many classes; the error counts as a share of that of guessing.
    """
    prior = QUANTILE**2 / images
    margin = QUANTILE * math.sqrt(error * (1 - error) / images + prior / images / 4)
    upper = (error + prior / 2 + margin) / (1 + prior)
    return upper < NEAR * (1 - 1 / classes)


def epochs_of(steps: int, batches: int, least: int = 0) -> int:
    """How many epochs of so many batches it takes to reach a budget of steps, within bounds."""
    return min(max(math.ceil(steps / batches), least), MOST_EPOCHS)
