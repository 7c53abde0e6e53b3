"""The colors of spatial gates, chosen so that rounding does not look like attention."""

from __future__ import annotations

from collections.abc import Sequence
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


def draw_gates(
    axes: Sequence[Any], gates: np.ndarray, middle: float, away: float, labels: Sequence[str]
) -> None:
    """Draw the maps of a layer, red above the middle and blue below it, with a color bar.

    Flat maps are drawn in one color, without a color bar.

    Args:
        axes: matplotlib axes, one for each map.
        gates: `(maps, height, width)`.
        middle: the gate that is drawn white.
        away: distance from `middle`, in both directions, at which the colors end.
        labels: labels of the color bar: at its lower end, in the middle, at its upper end.
    """
    flat = is_flat(gates)
    if flat:
        gates, middle, away = np.zeros_like(gates), 0.0, 1.0
    low, high = middle - away, middle + away
    for each, gate in zip(axes, gates, strict=True):
        shown = each.imshow(gate, cmap="RdBu_r", vmin=low, vmax=high, interpolation="nearest")
    if not flat:
        bar = axes[0].figure.colorbar(shown, ax=list(axes), location="bottom", shrink=0.8)
        bar.set_ticks([low, middle, high], labels=labels, fontsize=6)
