"""Which way is up in a photograph: its pixels as they are stored, or turned as EXIF says."""

from __future__ import annotations

import struct
from typing import Any

from keras_cbam.training.image_batches import LYING, ORIENTATION

STORED = 1
# What Pillow calls the turn of each orientation.
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def exif_orientation(file: Any) -> int:
    """The orientation of an open image; `STORED` where EXIF is missing or damaged."""
    try:
        value = file.getexif().get(ORIENTATION)
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
        return STORED
    return value if isinstance(value, int) and value in TURNS else STORED


def turned(image: Any, orientation: int) -> Any:
    """The image, turned as the orientation says."""
    from PIL import Image

    if orientation == STORED:
        return image
    return image.transpose(Image.Transpose[TURNS[orientation]])


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Two sides of an image after the turn, or before it."""
    return size[::-1] if orientation in LYING else size
