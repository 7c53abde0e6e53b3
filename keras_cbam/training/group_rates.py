"""Learning rates of their own for groups of weights: backbone, attention, head."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_cbam.layers import AttentionLayer, ChannelAttention
from keras_cbam.surgery.addresses import layers_inside, walk

# The squeeze is the first kernel of a channel gate, which is part of the attention where it has no
# rate of its own.
GROUPS = ("backbone", "attention", "squeeze", "head")
# The trainable variables of each group.
Variables: TypeAlias = Mapping[str, Sequence[keras.Variable]]


def group_variables(model: keras.Model, head: Collection[str]) -> dict[str, list[keras.Variable]]:
    """Return the trainable variables of a model by group.

    Args:
        model: the model; nested models are looked into.
        head: addresses of the layers of the head. Attention layers of keras_cbam are attention, and
            all other layers are the backbone.
    """
    groups: dict[str, list[keras.Variable]] = {group: [] for group in GROUPS}
    for address, layer in walk(model):
        if isinstance(layer, AttentionLayer):
            squeezes = _squeezes(layer)
            for variable in layer.trainable_variables:
                groups["squeeze" if id(variable) in squeezes else "attention"].append(variable)
        else:
            groups["head" if address in head else "backbone"] += layer.trainable_variables
    return groups


def _squeezes(layer: AttentionLayer) -> set[int]:
    """The identities of the first kernels of channel gates."""
    gates = [each for each in layers_inside(layer) if isinstance(each, ChannelAttention)]
    return {id(gate.squeeze.kernel) for gate in gates}


def group_scales(
    rates: Mapping[str, float], rate: float, groups: Variables
) -> list[tuple[keras.Variable, float]]:
    """Each variable whose group has a rate of its own, with that as a share of `rate`."""
    if "attention" in rates:
        rates = {"squeeze": rates["attention"], **rates}
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
