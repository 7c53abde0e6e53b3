"""Letterboxing: scale and pad an image to a detector's input, and transform its boxes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_cbam.detection.annotations import Photograph
from keras_cbam.image_reader import open_image, settle, to_rgb, turned, turned_size


class Letterbox(NamedTuple):
    """How an image fits into a detector's input.

    The image is scaled with its aspect ratio, and padded with black at the right and bottom.

    Attributes:
        size: height and width of the input, in pixels.
        inside: height and width of the scaled image within the input, in pixels.
        scale: pixels of the input per pixel of the image, vertically and horizontally.
    """

    size: tuple[int, int]
    inside: tuple[int, int]
    scale: tuple[float, float]

    def boxes_in(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes of the image, `(boxes, 4)` left, top, right, bottom, in input pixels."""
        return (boxes * self._factors).astype("float32")

    def boxes_out(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes of the input in pixels of the image, clipped to the image."""
        height, width = self.inside
        clipped = np.clip(boxes, 0, np.array([width, height, width, height], "float32"))
        return (clipped / self._factors).astype("float32")

    @property
    def _factors(self) -> np.ndarray:
        down, across = self.scale
        return np.array([across, down, across, down], "float32")


def letterbox(image_size: tuple[int, int], size: tuple[int, int]) -> Letterbox:
    """Return how an image of this height and width fits into an input of `size`."""
    scale = min(size[0] / image_size[0], size[1] / image_size[1])
    height, width = (max(round(extent * scale), 1) for extent in image_size)
    return Letterbox(size, (height, width), (height / image_size[0], width / image_size[1]))


def letterboxed(photograph: Photograph, size: tuple[int, int]) -> tuple[np.ndarray, Letterbox]:
    """Read and letterbox a photograph, turned as its boxes are, by antialiased bilinear resizing.

    Args:
        photograph: the image.
        size: height and width of the input, in pixels.

    Returns:
        The pixels, `(height, width, 3)` RGB float32 in 0..255, and the `Letterbox`.
    """
    from PIL import Image

    orientation = photograph.orientation
    with open_image(photograph.path) as file:
        settle(file)
        box = letterbox(turned_size((file.height, file.width), orientation), size)
        height, width = box.inside
        # Decode at least twice the size, so that resizing has pixels to average.
        file.draft("RGB", turned_size((2 * width, 2 * height), orientation))
        image = turned(to_rgb(file), orientation)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.zeros((*size, 3), "float32")
    pixels[:height, :width] = np.asarray(image)
    return pixels, box


def input_pixels(photographs: Sequence[Photograph], size: tuple[int, int]) -> np.ndarray:
    """Return letterboxed photographs as one input of a detector."""
    return np.stack([letterboxed(photograph, size)[0] for photograph in photographs])
