"""Quantized values: whole numbers, a scale and a zero point, as TFLite has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike


def quantize(value: np.ndarray, scale: float, zero_point: int, dtype: DTypeLike) -> np.ndarray:
    """Return real values as whole numbers; as they are if the scale is 0, that is, none."""
    return clipped(np.rint(value / scale) + zero_point, dtype) if scale else value


def dequantize(
    value: np.ndarray, scale: float, zero_point: int, dtype: DTypeLike = "float32"
) -> np.ndarray:
    """Return whole numbers as real values of a type; as they are if the scale is 0."""
    value = value.astype(dtype) if scale else value
    return (value - zero_point) * value.dtype.type(scale) if scale else value


def clipped(values: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return whole numbers as `dtype`; values beyond its limits become the limits."""
    limits = np.iinfo(dtype)
    # The largest float64 below 2**63 is well below it, and fits.
    largest = np.nextafter(float(limits.max), 0) if limits.bits == 64 else limits.max
    return np.clip(values, limits.min, largest).astype(dtype)
