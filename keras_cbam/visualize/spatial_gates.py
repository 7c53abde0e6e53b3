"""A picture of images beside the spatial gates that a network computes for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_cbam.errors import require
from keras_cbam.surgery.gates import attention_gates
from keras_cbam.visualize.gate_colors import draw_gates, is_flat, range_text


def draw_spatial_gates(
    model: keras.Model, images: np.ndarray, titles: Sequence[str], path: Path
) -> None:
    """Draw each image beside the last spatial gate of each resolution, and save the figure.

    Positions with a gate above 1 are strengthened (red), positions with a gate below 1 are weakened
    (blue). Each layer has its own color scale, since gates move by different amounts. The range
    stands above each layer. A layer whose gates differ by less than `FLAT` over all images is drawn
    in one color and marked as flat.

    Args:
        model: a functional model with attention of keras_cbam that starts as the identity.
        images: a few inputs of the model, `(images, height, width, 3)` RGB in 0..255.
        titles: one line for each image.
        path: path of the picture. The suffix decides the format, such as `.png`.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    maps = _last_of_each_size(attention_gates(model, images))
    rows, columns = len(images), len(maps) + 1
    figure = Figure(figsize=(1.75 * columns + 0.4, 1.6 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for row, (image, title) in enumerate(zip(images, titles, strict=True)):
        grid[row, 0].imshow(image.astype("uint8"))
        grid[row, 0].set_ylabel(title, fontsize=8)
    for column, (name, gates) in enumerate(maps.items(), start=1):
        away = float(np.abs(gates - 1).max())
        for row, gate in enumerate(gates):
            shown = draw_gates(grid[row, column], gate, 1.0, away, flat=is_flat(gates))
        height, width = gates.shape[1:]
        grid[0, column].set_title(
            f"{_short(name)}\n{height}x{width}, {range_text(gates)}", fontsize=7
        )
        if is_flat(gates):
            continue
        bar = figure.colorbar(shown, ax=grid[:, column].tolist(), location="bottom", shrink=0.8)
        bar.set_ticks([1 - away, 1, 1 + away], labels=["weaker", "1", "stronger"], fontsize=6)
    figure.savefig(path, dpi=120)


def _last_of_each_size(gates: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the last spatial gate of each resolution above 1x1, as (images, H, W)."""
    found: dict[tuple[int, ...], tuple[str, np.ndarray]] = {}
    for name, kinds in gates.items():
        spatial = kinds.get("spatial")
        if spatial is not None and spatial.shape[1:3] != (1, 1):
            found[spatial.shape] = (name, spatial[..., 0])
    return dict(found.values())


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:10]}…{name[-11:]}"
