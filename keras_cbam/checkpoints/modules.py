"""Loading the weights of one attention module of the authors' PyTorch code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_cbam.checkpoints.assign import assign_weights
from keras_cbam.checkpoints.layouts import TABLES
from keras_cbam.layers import AttentionLayer

# The values of a layer's options for which it computes the same as the authors' code.
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

    Names and layouts are those of [the authors' code](https://github.com/Jongchan/attention-module).
    `CBAM` takes names such as `ChannelGate.mlp.1.weight`. `ChannelAttention` and `SpatialAttention`
    take the same names without the leading `ChannelGate.` or `SpatialGate.`. `SqueezeExcite` takes
    the names of `ChannelAttention`. `BAM` takes the names `channel_att.gate_c...` and
    `spatial_att.gate_s...`. The authors' spatial convolution reads the maximum, then the mean. Its
    kernel is converted to the order of the layer's `pooling`.

    Args:
        layer: a built attention layer that computes the same as the authors' code: without
            `identity_init`, and with ReLU and sigmoid. CBAM must have the order channel, spatial,
            or only one half. BAM must multiply its branches.
        state_dict: PyTorch tensors or NumPy arrays by name, as `module.state_dict()` returns them.
        prefix: prefix of the module's names, such as `"layer1.0.cbam."`. Names without it are
            ignored. Defaults to `""`.

    Raises:
        ValueError: if the layer is not built or computes something else, or if names or shapes do
            not fit. The message lists all of them, and no weight is changed.

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
