"""The weights of one attention module, from the names and layouts of the authors' PyTorch code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cbam.layers import (
    BAM,
    CBAM,
    AttentionLayer,
    ChannelAttention,
    SpatialAttention,
    SqueezeExcite,
)

# The pooled maps that the authors' spatial convolution reads, in their order.
POOLED_MAPS = ("max", "avg")
# PyTorch counts the batches that a normalization has seen; nothing here needs the number.
COUNTER = "num_batches_tracked"


class Layout(NamedTuple):
    """How a PyTorch parameter becomes a Keras weight, and the shape it has for a weight's shape."""

    to_keras: Callable[[np.ndarray], np.ndarray]
    torch_shape: Callable[[tuple[int, ...]], tuple[int, ...]]


VECTOR = Layout(lambda w: w, lambda shape: shape)
# nn.Linear, (out, in), as a 1x1 convolution, (1, 1, in, out).
LINEAR = Layout(lambda w: w.T[None, None], lambda shape: (shape[3], shape[2]))
# nn.Conv2d, (out, in, height, width), as (height, width, in, out).
CONV = Layout(
    lambda w: w.transpose(2, 3, 1, 0), lambda shape: (shape[3], shape[2], shape[0], shape[1])
)

# What the authors' code computes, where a layer has the option.
AUTHORS_OPTIONS: dict[str, tuple[Any, ...]] = {
    "identity_init": (False,),
    "gate_activation": (keras.activations.sigmoid,),
    "hidden_activation": (keras.activations.relu,),
    "order": ("channel_spatial", "channel", "spatial"),
    "fusion": ("multiply",),
}

# From names there to the path of the weight here, and the layout it comes in.
Table = dict[str, tuple[str, Layout]]


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
    weights = {weight.path.removeprefix(f"{layer.path}/"): weight for weight in layer.weights}
    table = {
        name: (weights[path], layout)
        for name, (path, layout) in TABLES[type(layer)](layer).items()
        if path in weights
    }
    arrays = {
        name.removeprefix(prefix): _array(value)
        for name, value in state_dict.items()
        if name.startswith(prefix) and not name.endswith(COUNTER)
    }
    matched = {id(weight) for weight, _ in table.values()}
    faults = {
        **_faults(table, arrays, prefix),
        "without a counterpart in the authors' code": [
            path for path, weight in weights.items() if id(weight) not in matched
        ],
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in faults.items() if names)
        raise ValueError(
            f"The state dict does not fit {type(layer).__name__} {layer.name!r}: {listed}"
        )
    for name, (weight, layout) in table.items():
        weight.assign(layout.to_keras(arrays[name]))


def _validate(layer: AttentionLayer) -> None:
    if type(layer) not in TABLES:
        names = tuple(known.__name__ for known in TABLES)
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


def _faults(
    table: dict[str, tuple[keras.Variable, Layout]], arrays: dict[str, np.ndarray], prefix: str
) -> dict[str, list[str]]:
    shapes = {
        name: layout.torch_shape(tuple(weight.shape)) for name, (weight, layout) in table.items()
    }
    return {
        "missing": [prefix + name for name in table if name not in arrays],
        "unexpected": [prefix + name for name in arrays if name not in table],
        "of another shape": [
            f"{prefix}{name}, {array.shape} in place of {shapes[name]}"
            for name, array in arrays.items()
            if name in table and array.shape != shapes[name]
        ],
    }


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()
    return np.asarray(value)


def _affine(name: str, path: str, layout: Layout) -> Table:
    return {f"{name}.weight": (f"{path}/kernel", layout), f"{name}.bias": (f"{path}/bias", VECTOR)}


def _norm(name: str, path: str) -> Table:
    return {
        f"{name}.weight": (f"{path}/gamma", VECTOR),
        f"{name}.bias": (f"{path}/beta", VECTOR),
        f"{name}.running_mean": (f"{path}/moving_mean", VECTOR),
        f"{name}.running_var": (f"{path}/moving_variance", VECTOR),
    }


def _within(name: str, folder: str, table: Table) -> Table:
    return {f"{name}.{n}": (f"{folder}/{path}", layout) for n, (path, layout) in table.items()}


def _channel(layer: ChannelAttention) -> Table:
    return {**_affine("mlp.1", "squeeze", LINEAR), **_affine("mlp.3", "excite", LINEAR)}


def _spatial(layer: SpatialAttention) -> Table:
    pooled = CONV
    if set(layer.pools) == set(POOLED_MAPS):
        order = [POOLED_MAPS.index(pool) for pool in layer.pools]
        pooled = CONV._replace(to_keras=lambda w: CONV.to_keras(w)[:, :, order])
    return {
        "spatial.conv.weight": ("kernel", pooled),
        "spatial.conv.bias": ("bias", VECTOR),
        **_norm("spatial.bn", "batch_norm"),
    }


def _cbam(layer: CBAM) -> Table:
    table: Table = {}
    if layer.channel_attention is not None:
        part = _channel(layer.channel_attention)
        table |= _within("ChannelGate", "channel_attention", part)
    if layer.spatial_attention is not None:
        part = _spatial(layer.spatial_attention)
        table |= _within("SpatialGate", "spatial_attention", part)
    return table


def _bam(layer: BAM) -> Table:
    channel, spatial = "channel_att.gate_c.gate_c", "spatial_att.gate_s.gate_s"
    table = {
        **_affine(f"{channel}_fc_0", "squeeze", LINEAR),
        **_norm(f"{channel}_bn_1", "squeeze_norm"),
        **_affine(f"{channel}_fc_final", "excite", LINEAR),
        **_affine(f"{spatial}_conv_reduce0", "reduce", CONV),
        **_norm(f"{spatial}_bn_reduce0", "reduce_norm"),
        **_affine(f"{spatial}_conv_final", "score", CONV),
    }
    for i in range(len(layer.dilated)):
        table |= _affine(f"{spatial}_conv_di_{i}", f"dilated_{i}", CONV)
        table |= _norm(f"{spatial}_bn_di_{i}", f"dilated_{i}_norm")
    return table


TABLES: dict[type, Callable[[Any], Table]] = {
    ChannelAttention: _channel,
    SqueezeExcite: _channel,
    SpatialAttention: _spatial,
    CBAM: _cbam,
    BAM: _bam,
}
