"""The colors of spatial gates, chosen so that rounding does not look like attention."""

from __future__ import annotations

from typing import Any

import numpy as np

# Gates that differ by less are drawn in one color. Stretched over all colors, rounding would look
# like attention.
FLAT = 0.01


def is_flat(gates: np.ndarray) -> bool:
    """Return whether all gates differ by less than `FLAT`."""
    return float(np.ptp(gates)) < FLAT


def range_text(gates: np.ndarray) -> str:
    """Return the range of gates in words, such as `flat, 1.0000 to 1.0003`."""
    flat = "flat, " if is_flat(gates) else ""
    return f"{flat}{gates.min():.4f} to {gates.max():.4f}"


def draw_gates(axes: Any, gates: np.ndarray, middle: float, away: float, *, flat: bool) -> Any:
    """Draw a map of gates, red above the middle and blue below it.

    Args:
        axes: matplotlib axes.
        gates: `(height, width)`.
        middle: the gate that is drawn white.
        away: distance from `middle`, in both directions, at which the colors end.
        flat: whether to draw the map in one color.

    Returns:
        The image that `imshow` returns.
    """
    if flat:
        gates, middle, away = np.zeros_like(gates), 0.0, 1.0
    return axes.imshow(
        gates, cmap="RdBu_r", vmin=middle - away, vmax=middle + away, interpolation="nearest"
    )
