"""What rounding weights does to a network, and how a bias takes it back.

Rounding a weight shifts the mean of its channel by the rounding error times the mean of what the
weight multiplies, and a deep network adds the shifts up. Each bias takes back its own:
[Nagel et al., 2019](https://arxiv.org/abs/1906.04721), section 4.2, with means measured.
"""

from __future__ import annotations

import numpy as np

# The means are taken over so many images.
IMAGES = 32


def mean_shift(error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return by how much an error of the weights shifts each output channel, away from the border.

    Args:
        error: `(output channels, input channels of a group, places of the kernel)`.
        mean: `(input channels,)`, of what the weights multiply.
    """
    groups = len(mean) // error.shape[1]
    of_group = np.repeat(mean.reshape(groups, -1), len(error) // groups, axis=0)
    return (error.sum(-1) * of_group).sum(-1)
