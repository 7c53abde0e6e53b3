"""CBAM in NumPy float64, written from the paper's equations; shares nothing with the layers.

Feature maps are (N, H, W, C). Weights are those of the layers' `get_weights()`.
"""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def channel_gate(x, w1, b1, w2, b2, pools=("avg", "max")):
    """Equation 2: sigmoid of the shared MLP's answers to each pool, added."""
    pooled = {"avg": x.mean((1, 2)), "max": x.max((1, 2))}
    z = 0
    for name in pools:
        hidden = np.maximum(pooled[name] @ w1[0, 0] + b1, 0)
        z = z + hidden @ w2[0, 0] + b2
    return sigmoid(z)[:, None, None, :]


def spatial_logits(x, kernel, pools=("avg", "max")):
    """The convolution of equation 3, zero padded to the same size, place by place."""
    pooled = {"avg": x.mean(-1), "max": x.max(-1)}
    maps = np.stack([pooled[name] for name in pools], -1)
    k = kernel.shape[0]
    padded = np.pad(maps, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    z = np.zeros((*x.shape[:3], 1))
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            window = padded[:, i : i + k, j : j + k, :]
            z[:, i, j, 0] = np.einsum("nhwc,hwc->n", window, kernel[..., 0])
    return z


def batch_norm(z, gamma, beta, mean, variance, epsilon=1e-5):
    return gamma * (z - mean) / np.sqrt(variance + epsilon) + beta


def cbam(x, weights):
    """Equation 1, with batch normalization after the spatial convolution, in inference mode."""
    w1, b1, w2, b2, kernel, gamma, beta, mean, variance = (w.astype("float64") for w in weights)
    x = x.astype("float64")
    channel = channel_gate(x, w1, b1, w2, b2)
    refined = x * channel
    spatial = sigmoid(batch_norm(spatial_logits(refined, kernel), gamma, beta, mean, variance))
    return refined * spatial, channel, spatial
