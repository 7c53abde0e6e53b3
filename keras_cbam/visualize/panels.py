"""Figures of explanations: an image with its gates, models side by side, channel gates by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_cbam.errors import require
from keras_cbam.visualize.explanation import Explanation
from keras_cbam.visualize.gate_colors import FLAT, draw_gates, is_flat, range_text
from keras_cbam.visualize.grids import grid_of_axes, last_of_each_size, shortened

# Opacity of the heat in an overlay where it is hottest. The image shows through everywhere.
STRENGTH = 0.6
TILE = 1.9
# Largest number of channel gates that are drawn as bars.
MOST_BARS = 64
# Settings for names from outside, in which a dollar sign does not start mathematics.
PLAIN: dict[str, Any] = {"parse_math": False}


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay the colors of a heat map over an image.

    Args:
        image: `(height, width, 3)` uint8.
        heat: `(height, width)` in [0, 1].

    Returns:
        `(height, width, 3)` uint8.

    Raises:
        MissingPackageError: if matplotlib is not installed.
    """
    require("matplotlib")
    from matplotlib import colormaps

    colors = colormaps["turbo"](heat)[..., :3]
    strength = STRENGTH * np.clip(heat * 2, 0.35, 1)[..., None]
    return np.rint(image * (1 - strength) + 255 * colors * strength).astype("uint8")


def panel(explanation: Explanation) -> Any:
    """Draw one image, its heat, the last spatial gate of each resolution, and the channel gates.

    Returns:
        A `matplotlib.figure.Figure`.
    """
    layers = last_of_each_size({name: explanation.places[name] for name in explanation.spatial})
    columns = 2 + len(layers) + bool(explanation.channel)
    figure, grid = grid_of_axes(1, columns, TILE * columns + 0.2, TILE + 0.75)
    image, heat, *others = grid[0]
    _picture(image, explanation.image, shortened(explanation.predicted), explanation.probability)
    heated = overlay(explanation.image, explanation.heat)
    name = f"heat of {shortened(explanation.shown)}"
    _picture(heat, heated, name, explanation.shown_probability)
    for axes, layer in zip(others, layers, strict=False):
        gates = explanation.spatial[layer]
        middle, away = float(np.median(gates)), float(np.ptp(gates)) / 2
        labels = [f"{tick:.4f}" for tick in (middle - away, middle, middle + away)]
        draw_gates([axes], gates[None], middle, away, labels)
        height, width = explanation.places[layer]
        axes.set_title(f"spatial, {height}x{width}\n{shortened(layer)}", fontsize=7)
        if is_flat(gates):
            axes.set_xlabel(range_text(gates), fontsize=6)
    if explanation.channel:
        _bars(others[-1], *list(explanation.channel.items())[-1])
    return figure


def comparison(explanations: Mapping[str, Sequence[Explanation]], titles: Sequence[str]) -> Any:
    """Draw the heat of several models side by side, as the paper does.

    Args:
        explanations: for the name of each model, one explanation per image, of the same class.
        titles: titles of the images.

    Returns:
        A `matplotlib.figure.Figure` with a row per image and a column per model. The probability of
        the class stands below each picture.
    """
    rows, columns = len(titles), 1 + len(explanations)
    width, height = TILE * columns + 0.2, (TILE + 0.3) * rows + 0.3
    figure, grid = grid_of_axes(rows, columns, width, height)
    grid[0, 0].set_title("image", fontsize=9)
    for column, (name, found) in enumerate(explanations.items(), start=1):
        grid[0, column].set_title(name, fontsize=9, **PLAIN)
        for row, each in enumerate(found):
            axes = grid[row, column]
            axes.imshow(overlay(each.image, each.heat))
            axes.set_xlabel(f"p = {each.shown_probability:.4f}", fontsize=8)
            grid[row, 0].imshow(each.image)
    for axes, title in zip(grid[:, 0], titles, strict=True):
        axes.set_xlabel(shortened(title, 30), fontsize=8, **PLAIN)
    return figure


def channel_gate_histograms(
    explanations: Sequence[Explanation], classes: Sequence[str], layer: str
) -> Any:
    """Draw the distribution of a layer's channel gates for each class of images.

    Args:
        explanations: explanations of images by the same model.
        classes: the class of each image.
        layer: name of an attention layer with channel gates.

    Returns:
        A `matplotlib.figure.Figure` with a histogram of the gates for each class. Above each stand
        the channels that differ most from their mean over all images.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    gates = np.array([each.channel[layer] for each in explanations])
    names = sorted(set(classes))
    figure = Figure(figsize=(6, 0.8 * len(names) + 1), layout="constrained")
    grid = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    middle, away = (gates.min() + gates.max()) / 2, max(float(np.ptp(gates)), FLAT) / 2
    edges = np.linspace(middle - away, middle + away, 61)
    for axes, name in zip(grid, names, strict=True):
        own = gates[np.array(classes) == name]
        moved = own.mean(0) - gates.mean(0)
        most = np.argsort(-np.abs(moved))[:3]
        axes.hist(own.ravel(), edges, color="#4878a8")
        axes.set_yticks([])
        axes.set_ylabel(
            shortened(name, 14), fontsize=7, rotation=0, ha="right", va="center", **PLAIN
        )
        note = ", ".join(f"{channel} ({moved[channel]:+.2f})" for channel in most)
        axes.set_title(f"channels that differ most: {note}", fontsize=7, loc="right")
    grid[-1].set_xlabel(f"channel gate of {layer}: {range_text(gates)}", fontsize=8)
    return figure


def _picture(axes: Any, pixels: np.ndarray, name: str, probability: float) -> None:
    """Draw pixels below the name of a class and its probability."""
    axes.imshow(pixels)
    axes.set_title(f"{name}\np = {probability:.3f}", fontsize=8, **PLAIN)


def _bars(axes: Any, layer: str, gates: np.ndarray) -> None:
    """Draw the gates of up to `MOST_BARS` channels, ranked."""
    ranked = np.sort(gates)[::-1]
    ranked = ranked[
        np.linspace(0, len(ranked) - 1, min(len(ranked), MOST_BARS)).round().astype(int)
    ]
    axes.bar(range(len(ranked)), ranked, width=1, color="#4878a8")
    axes.set_ylim(min(0.9 * ranked.min(), ranked.min() - 1e-3), None)
    axes.yaxis.tick_right()
    axes.set_yticks(
        [ranked.min(), ranked.max()], [f"{ranked.min():.2f}", f"{ranked.max():.2f}"], fontsize=6
    )
    axes.set_title(f"{len(gates)} channels, ranked\n{shortened(layer)}", fontsize=7)
