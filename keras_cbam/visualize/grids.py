"""What the figures share: a grid of axes, short names, the choice of spatial gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_cbam.errors import require


def grid_of_axes(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """Return a matplotlib figure of a size in inches, and its axes `(rows, columns)`, bare."""
    require("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure, grid


def last_of_each_size(places: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the last layer of each resolution above 1x1, from the resolution of each layer."""
    return list({size: layer for layer, size in places.items() if size != (1, 1)}.values())


def shortened(name: str, length: int = 24) -> str:
    """Return a name of at most `length` characters, without its middle if it is longer."""
    half = length // 2
    return name if len(name) <= length else f"{name[: half - 1]}…{name[-half:]}"
