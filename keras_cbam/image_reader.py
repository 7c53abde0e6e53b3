"""Images as pixels: formats that are read, the right way up, in 8 bits a channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.image_files import FORMATS

# EXIF's tag; its value for images that are stored upright; what turns others upright, by the value;
# and the values of images that lie on their side.
ORIENTATION = 0x0112
STORED = 1
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
LYING = (5, 6, 7, 8)
# Formats that can be decoded at a part of their size.
SHRINKING = ("JPEG", "MPO")
# Rows and columns that are averaged in evaluation, so that no answer hangs on how a JPEG is shrunk.
DETAIL = 2

Source = Path | BytesIO
Box = tuple[float, float, float, float]
Crop = Callable[[int, int], Box]


@contextmanager
def open_image(source: Source) -> Iterator[Any]:
    """Open an image of one of `FORMATS` with Pillow, and decode it within the context.

    Raises:
        InputError: if the source is no regular file, or whatever fails within the context, which
            is for decoding alone.
    """
    from PIL import Image

    try:
        if isinstance(source, Path) and not source.is_file():
            raise OSError("no regular file")
        with Image.open(source, formats=tuple(FORMATS)) as file:
            yield file
    # A damaged file makes Pillow raise nearly anything.
    except Exception as error:
        name = source if isinstance(source, Path) else "an image of an archive"
        raise InputError(
            f"Expected an image that can be decoded, of {', '.join(FORMATS)}. Received: {name} "
            f"({error or type(error).__name__})"
        ) from error


def decodable_mode(path: Path) -> str | None:
    """Pillow's mode of an image that `read_image` can read, `None` for any other file."""
    try:
        with open_image(path) as file:
            # A JPEG is read whole at an eighth of its size too, at a fraction of the cost.
            _decode(file, orientation(file), (1, 1))
            return file.mode
    except InputError:
        return None


def is_deep(mode: str) -> bool:
    """Whether images of a mode have values of more than 8 bits, whose range nothing tells."""
    return mode.startswith(("I", "F"))


def central(aspect: float) -> Crop:
    """The largest crop of so many times its height in width, in the middle of an image."""

    def crop(width: int, height: int) -> Box:
        across, down = min(width, height * aspect), min(height, width / aspect)
        left, top = (width - across) / 2, (height - down) / 2
        return left, top, left + across, top + down

    return crop


def read_image(source: Source, size: tuple[int, int], crop: Crop, detail: int) -> Any:
    """Read an image, crop it and resize the crop to RGB, antialiased bilinear.

    A JPEG is decoded at a half, a quarter or an eighth where the crop still has `detail` times as
    many rows and columns as are wanted.

    Args:
        source: the file, or its bytes.
        size: height and width.
        crop: gives left, top, right and bottom for a width and a height.
        detail: how many rows and columns to average.

    Returns:
        An image of Pillow.

    Raises:
        InputError: if it cannot be decoded.
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
    """Which way up an opened image is stored, as EXIF counts; `STORED` if EXIF is damaged."""
    settle(file)
    try:
        found = file.getexif().get(ORIENTATION, STORED)
    except Exception:  # noqa: BLE001 - a damaged file makes Pillow raise nearly anything
        return STORED
    return found if isinstance(found, int) and found in TURNS else STORED


def settle(file: Any) -> None:
    """Load an opened image, unless it can be decoded at a part of its size, so that its size holds.

    PNG has EXIF behind the pixels, and Pillow turns TIFF with them.
    """
    if file.format not in SHRINKING:
        file.load()


def turned(image: Any, turn: int) -> Any:
    """The image, turned upright from an orientation."""
    from PIL import Image

    return image if turn == STORED else image.transpose(Image.Transpose[TURNS[turn]])


def turned_size(size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Two sides of an image after the turn, or before it."""
    return size[::-1] if turn in LYING else size


def to_rgb(image: Any) -> Any:
    """An image in 8 bits a channel.

    Gray values of more bits are scaled: the lowest of the image to 0, the highest to 255. Of 16
    bits in color Pillow has kept the upper 8.
    """
    from PIL import Image

    if not is_deep(image.mode):
        return image.convert("RGB")
    values = np.asarray(image, "float64")
    low, high = values.min(), values.max()
    if not np.isfinite((low, high)).all():
        raise ValueError("values that are no numbers")
    shares = (values - low) / ((high - low) or 1.0)
    return Image.fromarray(np.rint(255 * shares).astype("uint8")).convert("RGB")


def _decode(file: Any, turn: int, least: tuple[int, int]) -> Any:
    """An opened image in RGB and upright; where it can be smaller, of so many pixels at least."""
    file.draft("RGB", least)
    return turned(to_rgb(file), turn)
