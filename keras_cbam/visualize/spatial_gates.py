"""A picture of images beside the spatial gates that a network computes for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_cbam.errors import require
from keras_cbam.surgery.gates import attention_gates
from keras_cbam.visualize.gate_colors import draw_gates, range_text
from keras_cbam.visualize.grids import grid_of_axes, last_of_each_size, shortened


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
    found = attention_gates(model, images)
    maps = {name: kinds["spatial"][..., 0] for name, kinds in found.items() if "spatial" in kinds}
    layers = last_of_each_size({name: gates.shape[1:] for name, gates in maps.items()})
    rows, columns = len(images), len(layers) + 1
    figure, grid = grid_of_axes(rows, columns, 1.75 * columns + 0.4, 1.6 * rows + 0.7)
    for row, (image, title) in enumerate(zip(images, titles, strict=True)):
        grid[row, 0].imshow(image.astype("uint8"))
        grid[row, 0].set_ylabel(title, fontsize=8)
    for column, name in enumerate(layers, start=1):
        gates = maps[name]
        away = float(np.abs(gates - 1).max())
        draw_gates(grid[:, column], gates, 1.0, away, ("weaker", "1", "stronger"))
        height, width = gates.shape[1:]
        grid[0, column].set_title(
            f"{shortened(name, 22)}\n{height}x{width}, {range_text(gates)}", fontsize=7
        )
    figure.savefig(path, dpi=120)
