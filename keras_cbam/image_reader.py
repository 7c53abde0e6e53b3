"""Reading images as pixels: upright, in RGB with 8 bits per channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, refused
from keras_cbam.image_files import FORMATS
from keras_cbam.text import sentence

# The EXIF tag of the orientation, and its value for images that are stored upright.
ORIENTATION = 0x0112
STORED = 1
# The transposition that turns an image upright, by the other values of the tag.
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
# The values for images that lie on their side.
LYING = (5, 6, 7, 8)
# Formats that can be decoded at a fraction of their size.
SHRINKING = ("JPEG", "MPO")
# How many rows and columns evaluation averages into one. With 2, no result depends on how a JPEG
# was shrunk.
DETAIL = 2

Source = Path | BytesIO
Box = tuple[float, float, float, float]
Crop = Callable[[int, int], Box]


@contextmanager
def open_image(source: Source) -> Iterator[Any]:
    """Open an image in one of `FORMATS` with Pillow. Use the context only to decode the image.

    Raises:
        InputError: if the source is not a regular file, or if anything fails within the context.
    """
    from PIL import Image

    name = source if isinstance(source, Path) else "an image of an archive"
    what = f"Expected an image that can be decoded, of {', '.join(FORMATS)}. Received: {name} "
    with refused(what, told=lambda error: f"({sentence(error)})"):
        if isinstance(source, Path) and not source.is_file():
            raise OSError("no regular file")
        with Image.open(source, formats=tuple(FORMATS)) as file:
            yield file


def decodable_mode(path: Path) -> str | None:
    """Return Pillow's mode of an image that `read_image` can read, or `None` for other files."""
    try:
        with open_image(path) as file:
            # At an eighth of its size, a JPEG is still read to the end, at a fraction of the cost.
            _decode(file, orientation(file), (1, 1))
            return file.mode
    except InputError:
        return None


def is_deep(mode: str) -> bool:
    """Return whether images of a mode have values of more than 8 bits. Their range is unknown."""
    return mode.startswith(("I", "F"))


def central(aspect: float) -> Crop:
    """Return the largest central crop whose width is `aspect` times its height."""

    def crop(width: int, height: int) -> Box:
        across, down = min(width, height * aspect), min(height, width / aspect)
        left, top = (width - across) / 2, (height - down) / 2
        return left, top, left + across, top + down

    return crop


def read_image(source: Source, size: tuple[int, int], crop: Crop, detail: int) -> Any:
    """Read an image in RGB, crop it, and resize the crop by antialiased bilinear interpolation.

    A JPEG is decoded at a half, a quarter or an eighth of its size if the crop then still has
    `detail` times as many rows and columns as `size`.

    Args:
        source: the file, or its bytes.
        size: height and width of the result.
        crop: takes the width and height of the image, and returns left, top, right and bottom.
        detail: how many rows and columns to average into one.

    Returns:
        A Pillow image.

    Raises:
        InputError: if the image cannot be decoded.
    """
    from PIL import Image

    with open_image(source) as file:
        turn = orientation(file)
        width, height = turned_size(file.size, turn)
        left, top, right, bottom = crop(width, height)
        least = min((right - left) / (detail * size[1]), (bottom - top) / (detail * size[0]))
        image = _decode(file, turn, (math.ceil(file.width / least), math.ceil(file.height / least)))
    x, y = image.width / width, image.height / height
    return image.resize(
        size[::-1], Image.Resampling.BILINEAR, box=(left * x, top * y, right * x, bottom * y)
    )


def orientation(file: Any) -> int:
    """Return the EXIF orientation of an opened image; `STORED` if EXIF is missing or damaged."""
    settle(file)
    try:
        found = file.getexif().get(ORIENTATION, STORED)
    except Exception:  # noqa: BLE001 - a damaged file makes Pillow raise nearly anything
        return STORED
    return found if isinstance(found, int) and found in TURNS else STORED


def settle(file: Any) -> None:
    """Load an opened image, so that its size and EXIF are final.

    PNG stores EXIF after the pixels, and Pillow turns a TIFF upright when it loads the pixels.
    Formats of `SHRINKING` are not loaded, since they can be decoded at a fraction of their size.
    """
    if file.format not in SHRINKING:
        file.load()


def turned(image: Any, turn: int) -> Any:
    """Return an image upright, given its orientation."""
    from PIL import Image

    return image if turn == STORED else image.transpose(Image.Transpose[TURNS[turn]])


def turned_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Convert the size of a stored image to that of the upright image, or back."""
    return size[::-1] if turn in LYING else size


def to_rgb(image: Any) -> Any:
    """Return an image in RGB with 8 bits per channel.

    Gray values of more than 8 bits are scaled: the lowest of the image to 0, the highest to 255.
    For color images of 16 bits, Pillow has already kept only the upper 8.
    """
    from PIL import Image

    if not is_deep(image.mode):
        return image.convert("RGB")
    values = np.asarray(image, "float64")
    low, high = values.min(), values.max()
    if not np.isfinite((low, high)).all():
        raise ValueError("values that are not finite")
    shares = (values - low) / ((high - low) or 1.0)
    return Image.fromarray(np.rint(255 * shares).astype("uint8")).convert("RGB")


def _decode(file: Any, turn: int, least: tuple[int, int]) -> Any:
    """Decode an opened image upright in RGB. Shrink a JPEG, but not below the size `least`."""
    file.draft("RGB", least)
    return turned(to_rgb(file), turn)
