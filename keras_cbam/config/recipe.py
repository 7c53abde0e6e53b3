"""How a network is trained, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from keras_cbam.errors import InputError

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
# Groups of weights that may have rates of their own.
GROUPS = ("backbone", "attention", "squeeze", "head")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        optimizer: `"sgd"`, `"adam"` or `"adamw"`.
        learning_rate: the highest rate.
        group_rates: the highest rate of a group of weights, for those of `GROUPS` whose rate is not
            `learning_rate`: backbone, attention, squeeze, head. Squeeze is the first kernels of
            channel gates; if attention is named and squeeze is not, these learn at a tenth of the
            attention's rate. Schedule and warm-up are the same for all, and so is the norm that
            `clip_norm` bounds.
        schedule: `"constant"`, `"cosine"` to 0, or `"step"`: a tenth after each of `milestones`.
        milestones: shares of the steps, in (0, 1), ascending; of the schedule `"step"`.
        warmup: share of the steps in which the rate rises from 0, in [0, 1).
        momentum: of SGD.
        nesterov: whether SGD looks ahead.
        weight_decay: the share of each weight that a step at rate 1 takes off, apart from the
            gradient. A decay `d` in the loss, as PyTorch's SGD has it, takes off
            `d / (1 - momentum)` in the long run.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        clip_norm: the norm that the gradient of all weights together is scaled down to; `None` for
            none.
        ema: momentum of an exponential moving average of the weights, which takes their place in
            scoring and at the end; `None` for none.
        dtype_policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`, the last with its loss
            scaled; of the layers, so that the model is built under `dtype_policy(...)` of it.
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
        """Raise an `InputError` for what `compile_model` would refuse, or quietly misread."""
        for name, chosen, known in (
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("schedule", self.schedule, SCHEDULES),
            ("dtype policy", self.dtype_policy, POLICIES),
        ):
            if chosen not in known:
                raise InputError(f"Expected {name} of {', '.join(known)}. Received: {chosen}")
        for name, share in (
            ("a label smoothing", self.label_smoothing),
            ("a warmup", self.warmup),
            ("an EMA momentum", self.ema or 0.0),
        ):
            if not 0 <= share < 1:
                raise InputError(f"Expected {name} of at least 0 and below 1. Received: {share}")
        if unknown := set(self.group_rates) - set(GROUPS):
            raise InputError(
                f"Expected learning rates of {', '.join(GROUPS)}. Received: {min(unknown)}"
            )
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
