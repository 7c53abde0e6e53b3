"""Images packed in `.npz` files: the concatenated bytes of image files, and their offsets."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.npz import read_arrays
from keras_cbam.training.image_folder import ImageFolder, ImageSet

ARRAYS = ("jpeg", "offsets", "labels", "classes")
SPLITS = ("train", "test")
# The largest archive that is read, in bytes.
LARGEST = 2**36


def is_image_archive(folder: str | Path) -> bool:
    """Return whether a folder holds a `*train*.npz` and a `*test*.npz`."""
    root = Path(folder)
    return root.is_dir() and all(any(root.glob(f"*{split}*.npz")) for split in SPLITS)


def read_image_archive(folder: str | Path) -> ImageFolder:
    """Read a folder of one `*train*.npz` and one `*test*.npz`.

    Each file holds `jpeg`, uint8, the concatenated bytes of its image files; `offsets`, the start
    of each image and the end of the last; `labels`, integers; and `classes`, the class names.

    Args:
        folder: the folder.

    Returns:
        The images. The test set is `val`, and no images are held out for selection.

    Raises:
        InputError: if a file is missing or unreadable, or if the two files differ in classes.
    """
    found = []
    for split in SPLITS:
        paths = sorted(Path(folder).glob(f"*{split}*.npz"))
        if len(paths) != 1:
            raise InputError(f"Expected one *{split}*.npz in {folder}. Found: {len(paths)}")
        found.append(_read(paths[0]))
    (train, classes), (test, others) = found
    if classes != others:
        raise InputError(f"The files of {folder} have different classes.")
    return ImageFolder(classes, train, train.take(()), test, ())


def _read(path: Path) -> tuple[ImageSet, tuple[str, ...]]:
    named = read_arrays(path, LARGEST)
    if missing := [name for name in ARRAYS if name not in named]:
        raise InputError(f"Expected arrays {', '.join(ARRAYS)} in {path}. Missing: {missing[0]}")
    arrays = [named[name] for name in ARRAYS]
    if wrong := _wrong(*arrays):
        raise InputError(f"Expected {wrong} in {path}.")
    jpeg, offsets, labels, classes = arrays
    data = tuple(jpeg[a:b].tobytes() for a, b in pairwise(offsets))
    names = tuple(Path(f"{path.stem}/{index:06d}.jpg") for index in range(len(data)))
    return ImageSet(names, labels.astype("int32"), data), tuple(str(name) for name in classes)


def _wrong(
    jpeg: np.ndarray, offsets: np.ndarray, labels: np.ndarray, classes: np.ndarray
) -> str | None:
    """Return the first expectation that the arrays do not meet, or `None`."""
    if any(array.ndim != 1 for array in (jpeg, offsets, labels, classes)):
        return "arrays of one dimension"
    if jpeg.dtype != "uint8" or any(array.dtype.kind not in "iu" for array in (offsets, labels)):
        return "jpeg in uint8, and offsets and labels of integers"
    if classes.dtype.kind != "U":
        return "classes as text"
    if not len(labels) or len(offsets) != len(labels) + 1:
        return "at least one image, an offset for each label, and the end"
    bounds = offsets.astype("int64")
    if bounds[0] != 0 or bounds[-1] != len(jpeg) or not (np.diff(bounds) > 0).all():
        return f"offsets that rise from 0 to the {len(jpeg)} bytes of jpeg"
    if not ((labels >= 0) & (labels < len(classes))).all():
        return f"labels from 0 to {len(classes) - 1}"
    return None
