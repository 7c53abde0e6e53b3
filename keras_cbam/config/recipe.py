"""A training recipe: optimizer, schedule and regularization as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from keras_cbam.errors import InputError, check_choice, check_share

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
# Groups of weights that can have their own learning rates.
GROUPS = ("backbone", "attention", "squeeze", "head")


@dataclass(frozen=True)
class Recipe:
    """A training recipe.

    Attributes:
        optimizer: `"sgd"`, `"adam"` or `"adamw"`.
        learning_rate: peak learning rate.
        group_rates: peak learning rates of groups of weights that do not use `learning_rate`. The
            groups are those of `GROUPS`: backbone, attention, squeeze, head. Squeeze contains the
            first kernels of channel gates. If attention has a rate and squeeze has none, squeeze
            learns at a tenth of the attention's rate. All groups share the schedule, the warm-up
            and the norm that `clip_norm` bounds.
        schedule: `"constant"`; `"cosine"`, which decays to 0; or `"step"`, which divides the rate
            by 10 at each of `milestones`.
        milestones: shares of the steps for the schedule `"step"`, in (0, 1), ascending.
        warmup: share of the steps in which the rate rises from 0, in [0, 1).
        momentum: momentum of SGD.
        nesterov: whether SGD uses Nesterov momentum.
        weight_decay: share of each weight that a step at a learning rate of 1 subtracts, separate
            from the gradient. A decay `d` in the loss, as in PyTorch's SGD, subtracts
            `d / (1 - momentum)` in the long run.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        clip_norm: upper bound of the norm of all gradients together; `None` for no clipping.
        ema: momentum of an exponential moving average of the weights. The average replaces the
            weights for scoring and at the end. `None` for no average.
        dtype_policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`; the last scales the
            loss. It is a policy of the layers, so build the model under `dtype_policy(...)`.
    """

    optimizer: str = "sgd"
    learning_rate: float = 0.1
    group_rates: Mapping[str, float] = field(default_factory=dict)
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    warmup: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    dtype_policy: str = "float32"

    def check(self) -> None:
        """Raise an `InputError` for values that `compile_model` would refuse or misread."""
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("schedule", self.schedule, SCHEDULES)
        check_choice("dtype policy", self.dtype_policy, POLICIES)
        check_share("a label smoothing", self.label_smoothing)
        check_share("a warmup", self.warmup)
        check_share("an EMA momentum", self.ema or 0.0)
        for group in sorted(self.group_rates):
            check_choice("learning rates", group, GROUPS)
        for name, number in (
            ("learning rate", self.learning_rate),
            *((f"learning rate of the {group}", r) for group, r in self.group_rates.items()),
            ("clip norm", self.clip_norm),
        ):
            if number is not None and not number > 0:
                raise InputError(f"Expected a {name} above 0. Received: {number}")
        bounds = (0.0, *self.milestones, 1.0)
        if self.schedule == "step" and (
            len(bounds) < 3 or not all(low < high for low, high in pairwise(bounds))
        ):
            raise InputError(
                f"Expected milestones between 0 and 1, ascending. Received: {self.milestones}"
            )
