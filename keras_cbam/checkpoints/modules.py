"""The weights of one attention module, from the names and layouts of the authors' PyTorch code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_cbam.checkpoints.assign import assign_weights
from keras_cbam.checkpoints.layouts import TABLES
from keras_cbam.layers import AttentionLayer

# What the authors' code computes, where a layer has the option.
AUTHORS_OPTIONS: dict[str, tuple[Any, ...]] = {
    "identity_init": (False,),
    "gate_activation": (keras.activations.sigmoid,),
    "hidden_activation": (keras.activations.relu,),
    "order": ("channel_spatial", "channel", "spatial"),
    "fusion": ("multiply",),
}


def load_reference_module(
    layer: AttentionLayer, state_dict: Mapping[str, Any], prefix: str = ""
) -> None:
    """Give an attention layer the weights of its counterpart in the authors' PyTorch code.

    Names and layouts are those of [the authors' code](https://github.com/Jongchan/attention-module):
    `ChannelGate.mlp.1.weight` and so on for `CBAM`, without the leading `ChannelGate.` or
    `SpatialGate.` for `ChannelAttention` and `SpatialAttention` alone, `channel_att.gate_c...` and
    `spatial_att.gate_s...` for `BAM`. `SqueezeExcite` takes the names of a `ChannelGate`. The
    spatial convolution there reads the maximum, then the mean; its kernel is put into the order of
    the layer's `pooling`.

    Args:
        layer: a built attention layer that computes what the authors' code does: without
            `identity_init`, with ReLU and sigmoid, CBAM in the order channel, spatial or one half
            of it, BAM that multiplies its branches.
        state_dict: PyTorch tensors or NumPy arrays by name, as `module.state_dict()` gives them.
        prefix: what comes before the module's own names, such as `"layer1.0.cbam."`; other names
            are left alone. Defaults to `""`.

    Raises:
        ValueError: if the layer is not built or computes something else, or if names or shapes do
            not fit; all that do not are listed, and no weight is changed.

    Example:
        >>> import numpy as np
        >>> layer = ChannelAttention(reduction_ratio=4)
        >>> layer.build((None, 8, 8, 16))
        >>> state_dict = {
        ...     "mlp.1.weight": np.ones((4, 16)),
        ...     "mlp.1.bias": np.zeros(4),
        ...     "mlp.3.weight": np.ones((16, 4)),
        ...     "mlp.3.bias": np.zeros(16),
        ... }
        >>> load_reference_module(layer, state_dict)
        >>> gates = keras.ops.convert_to_numpy(layer.attention(np.ones((1, 8, 8, 16))))
        >>> bool(gates.min() > 0.999)  # The logits are 2 * 4 * 16.
        True
    """
    _validate(layer)
    own = {name: value for name, value in state_dict.items() if name.startswith(prefix)}
    assign_weights({prefix: layer}, own, f"{type(layer).__name__} {layer.name!r}")


def _validate(layer: AttentionLayer) -> None:
    known = [kind for kind in TABLES if issubclass(kind, AttentionLayer)]
    if type(layer) not in known:
        names = tuple(kind.__name__ for kind in known)
        raise ValueError(f"Argument `layer` must be one of {names}. Received: layer={layer}")
    if not layer.built:
        raise ValueError(
            "Argument `layer` must be built, by a call or by `layer.build(input_shape)`. "
            f"Received: layer={layer}"
        )
    for option, allowed in AUTHORS_OPTIONS.items():
        value = getattr(layer, option, allowed[0])
        if value not in allowed:
            raise ValueError(
                f"Argument `layer` must have `{option}` of {allowed}, as the authors' code has. "
                f"Received: layer={layer} with {option}={value}"
            )
