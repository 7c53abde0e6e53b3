"""The colors of spatial gates, which show no more than there is."""

from __future__ import annotations

from typing import Any

import numpy as np

# Gates that differ by less are drawn flat: stretched over all colors, rounding would look like
# attention.
FLAT = 0.01


def is_flat(gates: np.ndarray) -> bool:
    """Whether all gates are within `FLAT` of one another."""
    return float(np.ptp(gates)) < FLAT


def range_text(gates: np.ndarray) -> str:
    """The range of gates in words, such as `flat, 1.0000 to 1.0003`."""
    flat = "flat, " if is_flat(gates) else ""
    return f"{flat}{gates.min():.4f} to {gates.max():.4f}"


def draw_gates(axes: Any, gates: np.ndarray, middle: float, away: float, *, flat: bool) -> Any:
    """Draw a map of gates, red above the middle and blue below it.

    Args:
        axes: matplotlib axes.
        gates: `(height, width)`.
        middle: the gate that is drawn white.
        away: distance from it, in either direction, at which the colors end.
        flat: whether the map has one color.

    Returns:
        What `imshow` returns.
    """
    if flat:
        gates, middle, away = np.zeros_like(gates), 0.0, 1.0
    return axes.imshow(
        gates, cmap="RdBu_r", vmin=middle - away, vmax=middle + away, interpolation="nearest"
    )
