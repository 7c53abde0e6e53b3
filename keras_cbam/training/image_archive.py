"""Images packed in `.npz` files: all bytes of their files in a row, and where each begins."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from keras_cbam.errors import InputError
from keras_cbam.training.image_folder import ImageFolder, ImageSet

ARRAYS = ("jpeg", "offsets", "labels", "classes")
SPLITS = ("train", "test")


def is_image_archive(folder: str | Path) -> bool:
    """Whether a folder holds a `*train*.npz` and a `*test*.npz`."""
    root = Path(folder)
    return root.is_dir() and all(any(root.glob(f"*{split}*.npz")) for split in SPLITS)


def read_image_archive(folder: str | Path) -> ImageFolder:
    """Read a folder of one `*train*.npz` and one `*test*.npz`.

    Each holds `jpeg`, uint8, the bytes of its image files; `offsets`, where each begins, and the
    end; `labels`, integers; and `classes`, their names.

    Args:
        folder: the folder.

    Returns:
        The images, the test set as `val`, none held out for selection.

    Raises:
        InputError: if a file is missing, unreadable or of other classes than the other one.
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
    try:
        with np.load(path) as file:
            jpeg, offsets, labels, classes = (file[name] for name in ARRAYS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"Expected arrays {', '.join(ARRAYS)} in {path}: {error}") from error
    whole = len(offsets) == len(labels) + 1 and offsets[-1] == len(jpeg)
    if not whole or not np.isin(labels, np.arange(len(classes))).all():
        raise InputError(f"Expected an image for each label, and a class, in {path}.")
    data = tuple(jpeg[a:b].tobytes() for a, b in pairwise(offsets))
    names = tuple(Path(f"{path.stem}/{index:06d}.jpg") for index in range(len(data)))
    return ImageSet(names, labels.astype("int32"), data), tuple(str(name) for name in classes)
