"""What fine-tuning does where the user does not say: rates and budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """Rates and budgets of a run.

    A budget is a number of steps, not of epochs, so that 500 images are seen often enough and
    50,000 not too often.

    Attributes:
        head_steps: steps of head and attention beside a frozen backbone.
        steps: steps of the whole network.
        learning_rate: peak rate of the backbone.
        attention_learning_rate: peak rate of the attention while the whole network learns.
        head_learning_rate: peak rate of the head.
    """

    head_steps: int
    steps: int
    learning_rate: float
    attention_learning_rate: float
    head_learning_rate: float


# Epochs of the whole network that even the largest set gets, and of a phase that the smallest gets.
# Each epoch is scored and saved.
LEAST_EPOCHS, MOST_EPOCHS = 2, 100

# By whether the backbone has learned before. docs/finetune.md has the test of them.
DEFAULTS: dict[bool, Defaults] = {
    True: Defaults(
        head_steps=100,
        steps=450,
        learning_rate=1e-3,
        attention_learning_rate=3e-3,
        head_learning_rate=1e-3,
    ),
    False: Defaults(
        head_steps=0,
        steps=1000,
        learning_rate=3e-3,
        attention_learning_rate=3e-3,
        head_learning_rate=3e-3,
    ),
}

# The share of its rate at which the attention learns while the backbone is frozen.
BESIDE_FROZEN = 1 / 3

# At this error, as a share of that of guessing, the features of the frozen backbone are far from
# the task, and it learns at the full rate. Where they fit, the least share is left of it.
FAR = 0.15
LEAST = 0.15


def distance(error: float, classes: int) -> float:
    """How far the features of the frozen backbone are from the task, at least `LEAST`, at most 1.

    The backbone learns at this share of its full rate. Where the features fit, as
    ImageNet's do for photographs of its own classes, the full rate would destroy more than the
    images can teach.

    Args:
        error: share of the images held out that a logistic regression on them tells wrong.
        classes: how many classes; the error counts as a share of that of guessing.
    """
    share = error / (1 - 1 / classes)
    return min(max(share / FAR, LEAST), 1.0)


def epochs_of(steps: int, batches: int, least: int = 0) -> int:
    """How many epochs of so many batches it takes to reach a budget of steps, within bounds."""
    return min(max(math.ceil(steps / batches), least), MOST_EPOCHS)
