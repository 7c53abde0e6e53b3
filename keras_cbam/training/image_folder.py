"""Find, check and split the images of a folder of class folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from keras_cbam.errors import InputError, require
from keras_cbam.image_files import FORMATS, Files, check_class_names, find_files, folders_in
from keras_cbam.image_reader import decodable_mode, is_deep
from keras_cbam.training.split_names import split_folders

Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels.

    Attributes:
        paths: the path of each image, or only a name if the image is not a file of its own.
        labels: `(images,)` integers, the class indices.
        data: the bytes of each file; `None` if the images are read from their paths.
        weights: `(images,)` sample weights; `None` if all images count alike.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    data: tuple[bytes, ...] | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Iterable[int]) -> ImageSet:
        """Return the images at `indices`, in that order."""
        indices = list(indices)
        data = None if self.data is None else tuple(self.data[i] for i in indices)
        weights = None if self.weights is None else self.weights[indices]
        return ImageSet(tuple(self.paths[i] for i in indices), self.labels[indices], data, weights)

    def balanced(self) -> ImageSet:
        """Return the images with weights by which each class counts alike; their mean is 1."""
        counts = np.bincount(self.labels)
        shares = len(self) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return replace(self, weights=shares[self.labels].astype("float32"))

    def source(self, index: int) -> Path | BytesIO:
        """Return the path or the bytes that an image is read from."""
        return self.paths[index] if self.data is None else BytesIO(self.data[index])


@dataclass(frozen=True)
class ImageFolder:
    """The images of a data folder, split.

    Attributes:
        classes: names of the class folders, sorted; a label is an index into them.
        train: the images to train on.
        selection: images held out of train, which decide the epoch whose weights are kept.
        val: images that are scored once, at the end.
        skipped: images that are left out, because they could not be decoded or are of a format that
            is not read.
        deep: images with more than 8 bits per channel, whose values are scaled.
    """

    classes: tuple[str, ...]
    train: ImageSet
    selection: ImageSet
    val: ImageSet
    skipped: tuple[Path, ...]
    deep: tuple[Path, ...] = ()

    def balanced(self) -> ImageFolder:
        """Return the images with weights by which each class counts alike, within each set."""
        sets = {name: getattr(self, name).balanced() for name in ("train", "selection", "val")}
        return replace(self, **sets)


def read_image_folder(
    folder: str | Path,
    *,
    selection_split: float | None = 0.1,
    val_split: float | None = None,
    seed: int = 0,
    progress: Progress = None,
) -> ImageFolder:
    """Find the images of a folder, check that each can be decoded, and split them.

    Args:
        folder: a folder with `train/` and `val/`, or with `train/` and `test/`, each with a folder
            for every class; or a folder of class folders. If it has all three, `test/` is not read.
            The splits may have any of the names in `SPLIT_NAMES`.
        selection_split: share of each class's training images that is held out for selection, in
            (0, 1); `None` to hold out none.
        val_split: share of each class that becomes val, in (0, 1), for a folder of class folders;
            `None` for a folder with splits.
        seed: seed of the random splits.
        progress: called with the number of checked files and the number of all files.

    Raises:
        InputError: if the folder is missing or empty, a class has no readable image, or `val_split`
            is missing for a folder of class folders.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Expected a folder of images. No folder at: {root}")
    rng = np.random.default_rng(seed)
    splits = split_folders(root)
    if splits:
        said = " and ".join(f"{name}/" for name in splits)
        classes, scored = (_class_names(root / name) for name in splits)
        if val_split is not None:
            raise InputError(f"{root} has {said}, so no val split can be given.")
        extra = sorted(set(scored) ^ set(classes))
        if extra:
            raise InputError(f"{said} of {root} differ in class folder {extra[0]}.")
        (train, val), skipped, deep = _readable([root / name for name in splits], classes, progress)
    else:
        if val_split is None:
            raise InputError(
                f"{root} has no train/ and val/; give the share of each class to score the result "
                "on, such as --val-split 0.2."
            )
        classes = _class_names(root)
        (everything,), skipped, deep = _readable([root], classes, progress)
        train, val = _split(everything, val_split, rng, "val split", classes)
    if selection_split is None:
        return ImageFolder(classes, train, train.take(()), val, skipped, deep)
    train, selection = _split(train, selection_split, rng, "selection split", classes)
    return ImageFolder(classes, train, selection, val, skipped, deep)


def find_images(
    folder: str | Path, classes: Sequence[str] | None = None
) -> tuple[ImageSet, tuple[Path, ...]]:
    """Find all images below a folder, with or without class folders.

    Args:
        folder: the folder.
        classes: class names, in the order of their indices.

    Returns:
        The images and the paths that are left out. The label of an image is the index in `classes`
        of the folder directly below `folder` that holds it, or -1 if that is no class. Images are
        left out if they cannot be decoded or are of a format that is not read.

    Raises:
        InputError: if the folder is missing or has no image that can be decoded.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Expected a folder of images. No folder at: {root}")
    require("PIL")
    indices = {name: index for index, name in enumerate(classes or ())}
    images, unread = find_files(root)
    kept, undecodable = decodable(images)
    skipped = (*undecodable, *unread)
    if not kept:
        raise InputError(_without(f"Folder {root}", skipped))
    labels = [indices.get(p.relative_to(root).parts[0], -1) for p in kept]
    return ImageSet(kept, np.asarray(labels, "int32")), skipped


def decodable(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the images that can be decoded, and the other files."""
    modes = _modes(paths)
    kept = tuple(path for path in paths if modes[path])
    return kept, tuple(path for path in paths if not modes[path])


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(folders_in(folder))
    if len(names) < 2:
        raise InputError(
            f"Expected a folder for each of at least 2 classes in {folder}. Found: {len(names)}"
        )
    check_class_names(names, folder)
    return names


def _readable(
    folders: Sequence[Path], classes: tuple[str, ...], progress: Progress
) -> tuple[list[ImageSet], tuple[Path, ...], tuple[Path, ...]]:
    """Return the images of each folder, all files that are left out, and all images to scale."""
    found = {root / name: find_files(root / name) for root in folders for name in classes}
    _check_classes(found, lambda path: True)
    paths = [path for files in found.values() for path in files.images]
    modes = _modes(paths, progress)
    _check_classes(found, modes.get)
    sets = []
    for root in folders:
        kept: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            good = [path for path in found[root / name].images if modes[path]]
            kept += good
            labels += [label] * len(good)
        sets.append(ImageSet(tuple(kept), np.asarray(labels, "int32")))
    undecodable = [path for path in paths if not modes[path]]
    unread = [path for files in found.values() for path in files.unread]
    return sets, (*undecodable, *unread), tuple(p for p in paths if is_deep(modes[p] or ""))


def _check_classes(found: Mapping[Path, Files], readable: Callable[[Path], Any]) -> None:
    """Raise an `InputError` for a class folder without an image that is readable."""
    for folder, files in found.items():
        if not any(map(readable, files.images)):
            raise InputError(_without(f"Class folder {folder}", sum(files, ())))


def _modes(paths: Sequence[Path], progress: Progress = None) -> dict[Path, str | None]:
    """Return the mode of each image, `None` if it cannot be decoded."""
    modes: dict[Path, str | None] = {}
    with ThreadPoolExecutor() as pool:
        for path, mode in zip(paths, pool.map(decodable_mode, paths), strict=True):
            modes[path] = mode
            if progress:
                progress(len(modes), len(paths))
    return modes


def _without(where: str, skipped: Sequence[Path]) -> str:
    """Return the message that a folder has no image, and how many files were left out."""
    left_out = f" Left out: {len(skipped)}, such as {skipped[0].name}." if skipped else ""
    return f"{where} has no image that can be decoded as {', '.join(FORMATS)}.{left_out}"


def _split(
    images: ImageSet, share: float, rng: np.random.Generator, name: str, classes: tuple[str, ...]
) -> tuple[ImageSet, ImageSet]:
    """Take `share` of each class, at least one image, out of `images`."""
    if not 0 < share < 1:
        raise InputError(f"Expected a {name} between 0 and 1. Received: {share}")
    taken: set[int] = set()
    labels, counts = np.unique(images.labels, return_counts=True)
    in_order = np.argsort(images.labels, kind="stable")
    for label, members in zip(labels, np.split(in_order, np.cumsum(counts)[:-1]), strict=True):
        count = max(round(share * len(members)), 1)
        if count >= len(members):
            raise InputError(
                f"A {name} of {share} leaves no training image of class {classes[label]}, which "
                f"has {len(members)}."
            )
        taken.update(rng.choice(members, count, replace=False).tolist())
    rest = (i for i in range(len(images)) if i not in taken)
    return images.take(rest), images.take(sorted(taken))
