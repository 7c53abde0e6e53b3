"""Learning rates of their own for groups of weights: backbone, attention, squeeze, head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_cbam.config.recipe import GROUPS
from keras_cbam.layers import ChannelAttention
from keras_cbam.layers.base import Refinement
from keras_cbam.surgery.addresses import check_head, layers_inside, own_weights, walk, within

# The rate of the squeeze as a share of the attention's, where it has none of its own. What these
# kernels see is positive, so that a step moves a hidden unit by the rate times the sum of it all.
SQUEEZE = 0.1
# The trainable variables of each group.
Variables: TypeAlias = Mapping[str, Sequence[keras.Variable]]


def group_variables(model: keras.Model, head: Collection[str]) -> dict[str, list[keras.Variable]]:
    """Return the trainable variables of a model by group.

    Args:
        model: the model; nested models are looked into, and so are layers that hold layers.
        head: names of the layers of the head, whatever they hold, as `freeze_backbone` takes them.
            Of the others, attention layers of keras_cbam are attention, and the rest is the
            backbone.

    Raises:
        ValueError: if `head` names a layer that the model has not.
    """
    groups: dict[str, list[keras.Variable]] = {group: [] for group in GROUPS}
    # No dictionary: a subclassed model can have two layers of one name.
    layers = list(walk(model))
    check_head(model, [address for address, _ in layers], head)
    for address, layer in layers:
        attention, squeezes = _of_attention(layer)
        for variable in layer.trainable_variables:
            group = "attention" if id(variable) in attention else "backbone"
            group = "squeeze" if id(variable) in squeezes else group
            groups["head" if within(address, head) else group].append(variable)
    for address, variable in own_weights(model):
        if variable.trainable:
            groups["head" if within(address, head) else "backbone"].append(variable)
    return groups


def _of_attention(layer: keras.layers.Layer) -> tuple[set[int], set[int]]:
    """The identities of the attention's variables in a layer, and of the squeezes among them."""
    inside = [each for each in layers_inside(layer) if isinstance(each, Refinement)]
    gates = [each for each in inside if isinstance(each, ChannelAttention)]
    return (
        {id(variable) for each in inside for variable in each.trainable_variables},
        {id(gate.squeeze.kernel) for gate in gates},
    )


def group_scales(
    rates: Mapping[str, float], rate: float, groups: Variables
) -> list[tuple[keras.Variable, float]]:
    """Each variable whose group has a rate of its own, with that as a share of `rate`."""
    if "attention" in rates:
        rates = {"squeeze": SQUEEZE * rates["attention"], **rates}
    return [(variable, rates[group] / rate) for group in rates for variable in groups[group]]


class _GroupRates(keras.optimizers.Optimizer):
    """Scales the learning rate of some variables; mixed into an optimizer of Keras.

    The moments and the clipping are the optimizer's. Its decoupled weight decay is done here, since
    a weight's decay goes with its own rate.

    Which variables have which rate is not part of the configuration: loaded from a file, all have
    the optimizer's.

    Args:
        scales: `(variable, factor)` for each variable whose rate is not the optimizer's.
        weight_decay: share of a weight that a step at rate 1 takes off; `None` for none.
        **settings: of the optimizer.
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
    """What `update_step` is given for a variable: on TensorFlow the one inside Keras's."""
    return variable.value if keras.config.backend() == "tensorflow" else variable


@keras.saving.register_keras_serializable(package="keras_cbam")
class GroupSGD(_GroupRates, keras.optimizers.SGD):
    """SGD with learning rates by group."""


@keras.saving.register_keras_serializable(package="keras_cbam")
class GroupAdam(_GroupRates, keras.optimizers.Adam):
    """Adam, or with a weight decay AdamW, with learning rates by group."""
