"""An image made to fit a detector's input, and its boxes moved with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.image_reader import STORED, open_image, settle, to_rgb, turned, turned_size


class Letterbox(NamedTuple):
    """How an image fits into a detector's input: scaled as a whole, black at right and bottom.

    Attributes:
        size: height and width of the input, in pixels.
        inside: height and width that the image takes of it.
        scale: input pixels to one of the image, down and across.
    """

    size: tuple[int, int]
    inside: tuple[int, int]
    scale: tuple[float, float]

    def boxes_in(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the image, `(boxes, 4)` left, top, right, bottom, as boxes of the input."""
        return (boxes * self._factors).astype("float32")

    def boxes_out(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the input as boxes of the image, cut off at its edges."""
        height, width = self.inside
        clipped = np.clip(boxes, 0, np.array([width, height, width, height], "float32"))
        return (clipped / self._factors).astype("float32")

    @property
    def _factors(self) -> np.ndarray:
        down, across = self.scale
        return np.array([across, down, across, down], "float32")


def letterbox(image_size: tuple[int, int], size: tuple[int, int]) -> Letterbox:
    """How an image of so many rows and columns fits into an input of `size`."""
    scale = min(size[0] / image_size[0], size[1] / image_size[1])
    height, width = (max(round(extent * scale), 1) for extent in image_size)
    return Letterbox(size, (height, width), (height / image_size[0], width / image_size[1]))


def read_letterboxed(
    path: Path, size: tuple[int, int], orientation: int = STORED
) -> tuple[np.ndarray, Letterbox]:
    """Read an image as `(height, width, 3)` RGB float32 in 0..255, antialiased bilinear.

    Args:
        path: the image.
        size: height and width that it is made to fit, in pixels.
        orientation: of EXIF, by which it is turned.
    """
    from PIL import Image

    with open_image(path) as file:
        settle(file)
        box = letterbox(turned_size((file.height, file.width), orientation), size)
        height, width = box.inside
        # At least twice the pixels that are wanted are decoded, so that there are some to average.
        file.draft("RGB", turned_size((2 * width, 2 * height), orientation))
        image = turned(to_rgb(file), orientation)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.zeros((*size, 3), "float32")
    pixels[:height, :width] = np.asarray(image)
    return pixels, box


def letterboxed(image: Photograph, size: tuple[int, int]) -> tuple[np.ndarray, Letterbox]:
    """Read a photograph as its boxes count its pixels."""
    return read_letterboxed(image.path, size, image.orientation)
