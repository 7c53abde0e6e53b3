"""How the authors' code starts its weights; each call returns a new initializer, unseeded."""

from __future__ import annotations

import keras


def convolution() -> keras.Initializer:
    """He's normal distribution by fan-out, of convolutions."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def classifier() -> keras.Initializer:
    """He's normal distribution by fan-in, of the classifier."""
    return keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def default() -> keras.Initializer:
    """PyTorch's default, uniform by fan-in, of all that the code does not start itself.

    These are the projections of shortcuts and the MLPs of attention.
    """
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
