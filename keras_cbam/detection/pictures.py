"""Pictures of detections beside the annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.detection.decoder import Detections
from keras_cbam.errors import require
from keras_cbam.image_reader import open_image, to_rgb, turned

# Boxes below this score are not drawn. mAP counts boxes with much lower scores.
SHOWN = 0.5
WIDTH = 4.6
# Largest height of one image, largest height of all, and smallest height of one, in inches.
TALLEST, ALL, FLATTEST = 3 * WIDTH, 400.0, 0.3
# Largest side of an image as it is drawn, in pixels.
DRAWN = 2000
# Colors of the classes, used in turn.
COLORS = tuple(f"C{number}" for number in (1, 0, 2, 3, 4, 5, 6, 8, 9))
PLAIN: dict[str, Any] = {"parse_math": False}


def side_by_side(
    photographs: Sequence[Photograph],
    found: Sequence[Detections],
    classes: Sequence[str],
    *,
    threshold: float = SHOWN,
    truth: bool = True,
) -> Any:
    """Draw images with their detections, beside their annotations.

    Args:
        photographs: the images, one per row.
        found: the detections in each image, in pixels of the image.
        classes: the names of the classes.
        threshold: score from which a box is drawn.
        truth: whether to draw the annotations in a second column. Crowds are dashed.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        MissingPackageError: if matplotlib or pillow is not installed.
    """
    require("matplotlib", "PIL")
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = 2 if truth else 1
    heights = _heights(photographs)
    size = (WIDTH * columns, sum(heights) + 0.5 + 0.3 * len(heights))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(photographs), columns, squeeze=False, height_ratios=heights)
    for row, image, each in zip(grid, photographs, found, strict=True):
        pixels, (height, width) = _pixels(image), image.size
        for axes in row:
            axes.imshow(pixels, extent=(0, width, height, 0))
            axes.set_axis_off()
        sure = each.scores >= threshold
        for index in np.flatnonzero(sure):
            _draw(row[0], each.boxes[index], each.labels[index], f"{each.scores[index]:.2f}")
        title = f"{image.path.name}: {sure.sum()} found at {threshold:g}"
        row[0].set_title(title, fontsize=8, **PLAIN)
        if truth:
            for box, label, crowd in zip(image.boxes, image.labels, image.crowd, strict=True):
                _draw(row[1], box, label, "", dashed=bool(crowd))
            row[1].set_title(f"annotated: {len(image.boxes)}", fontsize=8)
    handles = [Line2D([], [], color=_color(i), label=name) for i, name in enumerate(classes)]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(len(classes), 8))
    for text in legend.get_texts():
        text.set(**PLAIN)
    return figure


def _heights(photographs: Sequence[Photograph]) -> list[float]:
    """Return the height of each image in inches, by its aspect ratio, within limits."""
    heights = [WIDTH * image.size[0] / image.size[1] for image in photographs]
    most = min(TALLEST, ALL / len(photographs))
    return [min(max(height, FLATTEST), most) for height in heights]


def _pixels(image: Photograph) -> np.ndarray:
    """Return the pixels of an image as they are drawn."""
    with open_image(image.path) as file:
        file.draft("RGB", (DRAWN, DRAWN))
        pixels = to_rgb(file)
    pixels.thumbnail((DRAWN, DRAWN))
    return np.asarray(turned(pixels, image.orientation))


def _draw(axes: Any, box: np.ndarray, label: int, text: str, *, dashed: bool = False) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    size, line = (right - left, bottom - top), "--" if dashed else "-"
    axes.add_patch(Rectangle((left, top), *size, fill=False, color=_color(label), ls=line))
    if text:
        axes.text(left + 1, top + 2, text, color=_color(label), fontsize=5, va="top")


def _color(label: int) -> str:
    return COLORS[int(label) % len(COLORS)]
