"""The attention layers in NumPy float64, written from the formulas; shares nothing with the layers.

Each function takes a feature map (N, H, W, C), the weights by name, and the layer's options, and
returns the refined map and the tuple of gates. `training` is that of batch normalization.
"""

import numpy as np

GATES = {
    "sigmoid": lambda z: np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z))),
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
}


def log_sum_exp(x):
    peak = x.max((1, 2), keepdims=True)
    return (peak + np.log(np.exp(x - peak).sum((1, 2), keepdims=True)))[:, 0, 0]


POOLS_OVER_PLACES = {
    "avg": lambda x: x.mean((1, 2)),
    "max": lambda x: x.max((1, 2)),
    "lp": lambda x: np.sqrt((x**2).sum((1, 2))),
    "lse": log_sum_exp,
}


def relu(x):
    return np.maximum(x, 0)


def gate(z, activation, identity):
    return (2 if identity else 1) * GATES[activation](z)


def convolution(x, kernel, dilation=1):
    """Zero padded to the same size."""
    side = kernel.shape[0]
    reach = dilation * (side // 2)
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    return sum(
        padded[:, i * dilation : i * dilation + height, j * dilation : j * dilation + width]
        @ kernel[i, j]
        for i in range(side)
        for j in range(side)
    )


def batch_norm(z, w, name, training):
    axes = tuple(range(z.ndim - 1))
    mean = z.mean(axes) if training else w[f"{name}/moving_mean"]
    variance = z.var(axes) if training else w[f"{name}/moving_variance"]
    return w[f"{name}/gamma"] * (z - mean) / np.sqrt(variance + 1e-5) + w[f"{name}/beta"]


def channel_attention(
    x, w, *, pooling=("avg", "max"), gate_activation="sigmoid", identity_init=False, training=False
):
    """CBAM, equation 2."""
    z = 0
    for pool in pooling:
        pooled = POOLS_OVER_PLACES[pool](x)
        hidden = relu(pooled @ w["squeeze/kernel"][0, 0] + w.get("squeeze/bias", 0))
        z = z + hidden @ w["excite/kernel"][0, 0] + w.get("excite/bias", 0)
    channel = gate(z, gate_activation, identity_init)[:, None, None, :]
    return x * channel, (channel,)


def squeeze_excite(x, w, **options):
    """SE, equations 2 to 4."""
    return channel_attention(x, w, pooling=("avg",), **options)


def spatial_attention(
    x, w, *, pooling=("avg", "max"), gate_activation="sigmoid", identity_init=False, training=False
):
    """CBAM, equation 3; with batch normalization, or with a bias."""
    pools = {"avg": lambda: x.mean(-1), "max": lambda: x.max(-1), "conv": lambda: x @ column}
    column = w["pool/kernel"][0, 0, :, 0] if "conv" in pooling else None
    z = convolution(np.stack([pools[pool]() for pool in pooling], -1), w["kernel"])
    z = z + w["bias"] if "bias" in w else batch_norm(z, w, "batch_norm", training)
    spatial = gate(z, gate_activation, identity_init)
    return x * spatial, (spatial,)


def cbam(
    x,
    w,
    *,
    order="channel_spatial",
    channel_pooling=("avg", "max"),
    spatial_pooling=("avg", "max"),
    **options,
):
    """CBAM, equation 1, and the other orders of table 3."""

    def part(name):
        return {k.removeprefix(name): v for k, v in w.items() if k.startswith(name)}

    def channel(x):
        options_ = {"pooling": channel_pooling, **options}
        return channel_attention(x, part("channel_attention/"), **options_)

    def spatial(x):
        options_ = {"pooling": spatial_pooling, **options}
        return spatial_attention(x, part("spatial_attention/"), **options_)

    if order == "channel":
        y, (mc,) = channel(x)
        return y, (mc, None)
    if order == "spatial":
        y, (ms,) = spatial(x)
        return y, (None, ms)
    if order == "channel_spatial":
        y, (mc,) = channel(x)
        y, (ms,) = spatial(y)
    if order == "spatial_channel":
        y, (ms,) = spatial(x)
        y, (mc,) = channel(y)
    if order == "parallel":
        _, (mc,) = channel(x)
        _, (ms,) = spatial(x)
        y = x * mc * ms
    return y, (mc, ms)


def bam(
    x,
    w,
    *,
    dilation=4,
    fusion="multiply",
    gate_activation="sigmoid",
    identity_init=False,
    training=False,
):
    """BAM as in its authors' code, or with equation 2 of its text."""

    def conv(x, name, dilation=1):
        return convolution(x, w[f"{name}/kernel"], dilation) + w[f"{name}/bias"]

    def unit(x, name, dilation=1):
        return relu(batch_norm(conv(x, name, dilation), w, f"{name}_norm", training))

    mc = conv(unit(x.mean((1, 2), keepdims=True), "squeeze"), "excite")
    ms = unit(x, "reduce")
    for name in ("dilated_0", "dilated_1"):
        ms = unit(ms, name, dilation)
    ms = conv(ms, "score")
    z = mc * ms if fusion == "multiply" else mc + ms
    attention = (2 if identity_init else 1) * GATES[gate_activation](z) + (not identity_init)
    return x * attention, (attention,)
