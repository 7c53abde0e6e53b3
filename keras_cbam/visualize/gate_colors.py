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


def draw_gates(
    axes: Any, gates: np.ndarray, among: np.ndarray | None = None, **settings: Any
) -> Any:
    """Draw a map of gates, red above the middle and blue below it.

    Args:
        axes: matplotlib axes.
        gates: `(height, width)`.
        among: the gates whose range the colors span; by default those drawn. Where they are flat,
            the map has one color.
        **settings: of `imshow`, such as `vmin` and `vmax`, which the range does not decide then.

    Returns:
        What `imshow` returns.
    """
    among = gates if among is None else among
    if is_flat(among):
        return axes.imshow(np.zeros_like(gates), cmap="RdBu_r", vmin=-1, vmax=1)
    low, high = float(among.min()), float(among.max())
    return axes.imshow(gates, cmap="RdBu_r", **{"vmin": low, "vmax": high, **settings})
