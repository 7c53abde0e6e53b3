"""The initializers of the authors' code. Each call returns a new initializer without a seed."""

from __future__ import annotations

import keras


def convolution() -> keras.Initializer:
    """Return the initializer of convolutions: He's normal distribution by fan-out."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def classifier() -> keras.Initializer:
    """Return the initializer of the classifier: He's normal distribution by fan-in."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def default() -> keras.Initializer:
    """Return PyTorch's default initializer: a uniform distribution by fan-in.

    The authors' code leaves the projections of shortcuts and the MLPs of attention to it.
    """
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
