"""Compile a model by a recipe: optimizer, schedule, loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_cbam.config.recipe import Recipe
from keras_cbam.training.group_rates import GroupAdam, GroupSGD, Variables, group_scales

Schedule: TypeAlias = keras.optimizers.schedules.LearningRateSchedule

# For each name, the optimizer of Keras and the one with learning rates by group.
OPTIMIZERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "adam": (keras.optimizers.Adam, GroupAdam),
    "adamw": (keras.optimizers.AdamW, GroupAdam),
    "sgd": (keras.optimizers.SGD, GroupSGD),
}


@keras.saving.register_keras_serializable(package="keras_cbam")
class WarmUp(Schedule):
    """A learning rate schedule with a linear warm-up from 0.

    Args:
        schedule: the schedule to warm up to.
        steps: number of warm-up steps.
    """

    def __init__(self, schedule: Schedule, steps: int):
        super().__init__()
        self.schedule = schedule
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        risen = ops.minimum((ops.cast(step, "float32") + 1) / max(self.steps, 1), 1)
        return self.schedule(step) * risen

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["steps"])


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build the layers in this context with a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def learning_rate(recipe: Recipe, steps: int) -> float | Schedule:
    """Return the learning rate, or its schedule over `steps` steps."""
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    elif recipe.schedule == "step":
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(
            [round(share * steps) for share in recipe.milestones],
            [recipe.learning_rate * 0.1**k for k in range(len(recipe.milestones) + 1)],
        )
    if not recipe.warmup:
        return rate
    if recipe.schedule == "constant":
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([1], [rate, rate])
    return WarmUp(rate, round(recipe.warmup * steps))


def optimizer(
    recipe: Recipe, steps: int, groups: Variables | None = None
) -> keras.optimizers.Optimizer:
    """Return the optimizer for `steps` training steps.

    Args:
        recipe: the training recipe.
        steps: number of training steps.
        groups: the trainable variables of each group; `None` if all have one learning rate.

    Raises:
        ValueError: if the recipe has rates by group and no groups are given.
    """
    settings: dict[str, Any] = {"weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adamw":
        settings = {"weight_decay": recipe.weight_decay or 0.0}
    if recipe.optimizer == "sgd":
        settings |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    if recipe.ema is not None:
        settings |= {"use_ema": True, "ema_momentum": recipe.ema}
    plain, by_group = OPTIMIZERS[recipe.optimizer]
    rate, clip_norm = learning_rate(recipe, steps), recipe.clip_norm
    if not recipe.group_rates:
        return plain(rate, global_clipnorm=clip_norm, **settings)
    if groups is None:
        raise ValueError("Argument `groups` must be given for a recipe with `group_rates`.")
    scales = group_scales(recipe.group_rates, recipe.learning_rate, groups)
    return by_group(rate, global_clipnorm=clip_norm, scales=scales, **settings)


def jit_compile() -> bool | str:
    """Return whether Keras compiles a training step with XLA.

    On a CPU, XLA has no fast depthwise convolution: it is 4 to 15 times slower than oneDNN.
    """
    return "auto" if keras.config.backend() == "jax" else False


def compile_model(
    model: keras.Model, recipe: Recipe, steps: int, groups: Variables | None = None
) -> None:
    """Compile a classifier of probabilities, and create all variables that training needs.

    Args:
        model: a model with one output, `(batch, classes)`.
        recipe: the training recipe.
        steps: number of batches in all of its training, over which the learning rate decays.
        groups: the trainable variables of each group, for a recipe with `group_rates`.
    """
    model.compile(
        optimizer=optimizer(recipe, steps, groups),
        loss=SmoothedCrossentropy(recipe.label_smoothing)
        if recipe.label_smoothing
        else keras.losses.SparseCategoricalCrossentropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile(),
    )
    _build_training_state(model)


def averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether an optimizer, or the one inside a loss scaling optimizer, averages weights."""
    return getattr(optimizer, "inner_optimizer", optimizer).use_ema


@keras.saving.register_keras_serializable(package="keras_cbam")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of integer labels with label smoothing.

    Args:
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing: float, name: str = "smoothed_crossentropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        targets = ops.one_hot(labels, y_pred.shape[-1])
        return keras.losses.categorical_crossentropy(
            targets, y_pred, label_smoothing=self.label_smoothing
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


def _build_training_state(model: keras.Model) -> None:
    """Create the variables of the optimizer and the metrics before the first step of `fit`.

    If `fit` created them, TensorFlow would trace the step a second time. JAX and PyTorch would take
    a batch from the queue of `ImageBatches`, so training would start with the second batch.
    Variables that exist can also be restored.
    """
    model.optimizer.build(model.trainable_variables)
    classes = model.output.shape[-1]
    probabilities = keras.ops.full((1, classes), 1 / classes, "float32")
    label = keras.ops.zeros((1,), "int32")
    model.compute_loss(y=label, y_pred=probabilities)
    model.compute_metrics(None, label, probabilities)
    model.reset_metrics()
