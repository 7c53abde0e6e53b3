"""Separate learning rates for groups of weights: backbone, attention, squeeze, head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_cbam.config.recipe import GROUPS
from keras_cbam.layers import ChannelAttention
from keras_cbam.layers.base import Refinement
from keras_cbam.surgery.addresses import check_head, layers_inside, own_weights, walk, within

# The default rate of the squeeze, as a share of the attention's. The inputs of these kernels are
# positive, so a step moves a hidden unit by the rate times the sum of all inputs.
SQUEEZE = 0.1
# The trainable variables of each group.
Variables: TypeAlias = Mapping[str, Sequence[keras.Variable]]


def group_variables(model: keras.Model, head: Collection[str]) -> dict[str, list[keras.Variable]]:
    """Return the trainable variables of a model by group.

    Args:
        model: the model, which may have nested models and layers that hold layers.
        head: names of the layers of the head, as in `freeze_backbone`. All of their variables
            belong to the head. In all other layers, the variables of keras_cbam's attention belong
            to the attention or, for the first kernel of a channel gate, to the squeeze. All other
            variables belong to the backbone.

    Raises:
        ValueError: if `head` names a layer that the model does not have.
    """
    groups: dict[str, list[keras.Variable]] = {group: [] for group in GROUPS}
    # A list, not a dictionary: a subclassed model can have two layers of the same name.
    layers = list(walk(model))
    check_head(model, [address for address, _ in layers], head)
    for address, layer in layers:
        attention = _of_attention(layer)
        for variable in layer.trainable_variables:
            group = attention.get(id(variable), "backbone")
            groups["head" if within(address, head) else group].append(variable)
    for address, variable in own_weights(model):
        if variable.trainable:
            groups["head" if within(address, head) else "backbone"].append(variable)
    return groups


def _of_attention(layer: keras.layers.Layer) -> dict[int, str]:
    """Return the group of each variable of the attention in a layer, by the variable's id."""
    inside = [each for each in layers_inside(layer) if isinstance(each, Refinement)]
    groups = {id(v): "attention" for each in inside for v in each.trainable_variables}
    for each in inside:
        if isinstance(each, ChannelAttention):
            groups[id(each.squeeze.kernel)] = "squeeze"
    return groups


def group_scales(
    rates: Mapping[str, float], rate: float, groups: Variables
) -> list[tuple[keras.Variable, float]]:
    """Return each variable whose group has its own rate, with that rate as a share of `rate`."""
    if "attention" in rates:
        rates = {"squeeze": SQUEEZE * rates["attention"], **rates}
    return [(variable, rates[group] / rate) for group in rates for variable in groups[group]]


class _GroupRates(keras.optimizers.Optimizer):
    """A mixin for optimizers of Keras that scales the learning rate of some variables.

    The optimizer handles the moments and the clipping. The mixin applies the decoupled weight
    decay, since each weight decays in proportion to its own learning rate.

    The configuration does not say which variables have which rate. In an optimizer that is loaded
    from a file, all variables have the optimizer's rate.

    Args:
        scales: `(variable, factor)` for each variable whose rate is not the optimizer's.
        weight_decay: share of a weight that a step at rate 1 subtracts; `None` for no decay.
        **settings: arguments of the optimizer.
    """

    def __init__(
        self,
        *args: Any,
        scales: Sequence[tuple[keras.Variable, float]] = (),
        weight_decay: float | None = None,
        **settings: Any,
    ):
        super().__init__(*args, **settings)
        self.decay = weight_decay
        self.scales = {id(_updated(variable)): scale for variable, scale in scales}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = learning_rate * self.scales.get(id(variable), 1.0)
        if self.decay:
            taken = ops.cast(rate * self.decay, variable.dtype)
            self.assign_sub(variable, variable * taken)
        super().update_step(gradient, variable, rate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "weight_decay": self.decay}


def _updated(variable: keras.Variable) -> Any:
    """Return the variable that `update_step` gets: on TensorFlow, the one inside Keras's."""
    return variable.value if keras.config.backend() == "tensorflow" else variable


@keras.saving.register_keras_serializable(package="keras_cbam")
class GroupSGD(_GroupRates, keras.optimizers.SGD):
    """SGD with learning rates by group."""


@keras.saving.register_keras_serializable(package="keras_cbam")
class GroupAdam(_GroupRates, keras.optimizers.Adam):
    """Adam, or with a weight decay AdamW, with learning rates by group."""
