"""Quantized values as in TFLite: integers with a scale and a zero point."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike


def quantize(value: np.ndarray, scale: float, zero_point: int, dtype: DTypeLike) -> np.ndarray:
    """Quantize real values. A scale of 0 means no quantization: they are returned unchanged."""
    return clipped(np.rint(value / scale) + zero_point, dtype) if scale else value


def dequantize(
    value: np.ndarray, scale: float, zero_point: int, dtype: DTypeLike = "float32"
) -> np.ndarray:
    """Return quantized values as real values of a type; unchanged if the scale is 0."""
    value = value.astype(dtype) if scale else value
    return (value - zero_point) * value.dtype.type(scale) if scale else value


def clipped(values: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """Return whole numbers as `dtype`, clipped to its limits."""
    limits = np.iinfo(dtype)
    # The largest float64 below 2**63 fits into int64; 2**63 - 1 itself is not a float64.
    largest = np.nextafter(float(limits.max), 0) if limits.bits == 64 else limits.max
    return np.clip(values, limits.min, largest).astype(dtype)
