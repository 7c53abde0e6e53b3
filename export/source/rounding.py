"""The shift that rounding weights causes, which bias correction removes.

Rounding a weight shifts the mean of its output channel by the rounding error times the mean of the
input that the weight multiplies. In a deep network the shifts add up. Bias correction subtracts the
shift from each bias: [Nagel et al., 2019](https://arxiv.org/abs/1906.04721), section 4.2, with
measured means.
"""

from __future__ import annotations

import numpy as np

# Number of images over which the means are measured.
IMAGES = 32


def mean_shift(error: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the shift of each output channel that an error of the weights causes.

    It holds away from the border of the feature map.

    Args:
        error: `(output channels, input channels per group, kernel positions)`, the rounding error.
        mean: `(input channels,)`, means of the input that the weights multiply.
    """
    groups = len(mean) // error.shape[1]
    of_group = np.repeat(mean.reshape(groups, -1), len(error) // groups, axis=0)
    return (error.sum(-1) * of_group).sum(-1)
