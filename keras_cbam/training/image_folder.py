"""Folders of class folders: found, checked, split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from keras_cbam.errors import InputError, require

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


@dataclass(frozen=True)
class ImageSet:
    """Images and the index of each one's class.

    Attributes:
        paths: where each is; a name where it is not a file of its own.
        labels: `(images,)` integers.
        data: the bytes of each file; `None` where they are read from the paths.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    data: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Iterable[int]) -> ImageSet:
        """Return the images at `indices`, in that order."""
        indices = list(indices)
        data = None if self.data is None else tuple(self.data[i] for i in indices)
        return ImageSet(tuple(self.paths[i] for i in indices), self.labels[indices], data)

    def source(self, index: int) -> Path | BytesIO:
        """What an image is read from."""
        return self.paths[index] if self.data is None else BytesIO(self.data[index])


@dataclass(frozen=True)
class ImageFolder:
    """A data folder, read and split.

    Attributes:
        classes: names of the class folders, sorted; a label is an index into them.
        train: the images to learn from.
        selection: images held out of train, by which it is chosen whose weights are kept.
        val: images scored once, at the end.
        skipped: files that could not be decoded, and are left out.
    """

    classes: tuple[str, ...]
    train: ImageSet
    selection: ImageSet
    val: ImageSet
    skipped: tuple[Path, ...]


def read_image_folder(
    folder: str | Path,
    *,
    selection_split: float | None = 0.1,
    val_split: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ImageFolder:
    """Find the images of a folder, decode each once to see that it can be, and split them.

    Args:
        folder: either `train/` and `val/`, or `train/` and `test/`, each with a folder for every
            class; or the class folders themselves. With all three, `test/` is not read.
        selection_split: share of each class's training images held out for selection, in (0, 1);
            `None` for none.
        val_split: share of each class set apart as val, in (0, 1), where there are no `train/` and
            `val/`; `None` where there are.
        seed: seed of the splits.
        progress: called with the number of files checked and the number of all.

    Raises:
        InputError: if the folder is missing or empty, a class has no readable image, or the split
            is not stated.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Expected a folder of images. No folder at: {root}")
    rng = np.random.default_rng(seed)
    # A folder of that name that holds images and no folders is a class like any other.
    found = [name for name in ("train", "val") if _folders(root / name)]
    if found == ["train"] and _folders(root / "test"):
        found = ["train", "test"]
    if len(found) == 1:
        raise InputError(
            f"Expected train/ and val/, or train/ and test/, in {root}. Found only: {found[0]}/"
        )
    if found:
        splits = f"{found[0]}/ and {found[1]}/"
        if val_split is not None:
            raise InputError(f"{root} has {splits}, so no val split can be stated.")
        classes, scored = (_class_names(root / name) for name in found)
        extra = sorted(set(scored) ^ set(classes))
        if extra:
            raise InputError(f"{splits} of {root} differ in class folder {extra[0]}.")
        train, val = (_find(root / name, classes) for name in found)
        train, val, skipped = _readable(train, val, classes, progress)
    else:
        if val_split is None:
            raise InputError(
                f"{root} has no train/ and val/; state the share of each class to score the result "
                "on, such as --val-split 0.2."
            )
        classes = _class_names(root)
        everything, _, skipped = _readable(_find(root, classes), None, classes, progress)
        train, val = _split(everything, val_split, rng, "val split")
    if selection_split is None:
        return ImageFolder(classes, train, train.take(()), val, skipped)
    train, selection = _split(train, selection_split, rng, "selection split")
    return ImageFolder(classes, train, selection, val, skipped)


def find_images(
    folder: str | Path, classes: Sequence[str] | None = None
) -> tuple[ImageSet, tuple[Path, ...]]:
    """Find all images below a folder, whether or not they lie in class folders.

    Args:
        folder: the folder.
        classes: class names, in the order of their indices.

    Returns:
        The images, labelled by the folder directly below `folder` that each lies in, -1 where it is
        none of `classes`; and the files that could not be decoded in 8 bits a channel, which are
        left out.

    Raises:
        InputError: if the folder is missing or has no image that can be decoded.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"Expected a folder of images. No folder at: {root}")
    require("PIL")
    indices = {name: index for index, name in enumerate(classes or ())}
    kept, skipped = decodable(sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES))
    if not kept:
        raise InputError(f"{root} has no image that can be decoded.")
    labels = [indices.get(p.relative_to(root).parts[0], -1) for p in kept]
    return ImageSet(kept, np.asarray(labels, "int32")), skipped


def decodable(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the files that can be decoded in 8 bits a channel, and those that cannot."""
    with ThreadPoolExecutor() as pool:
        readable = list(pool.map(can_decode, paths))
    kept, skipped = (
        tuple(p for p, good in zip(paths, readable, strict=True) if good == wanted)
        for wanted in (True, False)
    )
    return kept, skipped


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder; none where it does not exist."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(p.name for p in inside if p.is_dir() and not p.name.startswith("."))


def _class_names(folder: Path) -> tuple[str, ...]:
    names = _folders(folder)
    if len(names) < 2:
        raise InputError(
            f"Expected a folder for each of at least 2 classes in {folder}. Found: {len(names)}"
        )
    return tuple(names)


def _find(folder: Path, classes: tuple[str, ...]) -> ImageSet:
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        if not found:
            raise InputError(
                f"Class folder {folder / name} has no image ({', '.join(s[1:] for s in SUFFIXES)})."
            )
        paths += found
        labels += [label] * len(found)
    return ImageSet(tuple(paths), np.asarray(labels, "int32"))


def _readable(
    train: ImageSet,
    val: ImageSet | None,
    classes: tuple[str, ...],
    progress: Callable[[int, int], None] | None,
) -> tuple[ImageSet, ImageSet, tuple[Path, ...]]:
    val = val or ImageSet((), np.asarray([], "int32"))
    paths = train.paths + val.paths
    good = []
    with ThreadPoolExecutor() as pool:
        for done, readable in enumerate(pool.map(can_decode, paths), start=1):
            good.append(readable)
            if progress:
                progress(done, len(paths))
    kept = []
    for images, flags in ((train, good[: len(train)]), (val, good[len(train) :])):
        kept.append(images.take(i for i, readable in enumerate(flags) if readable))
        for label in set(images.labels) - set(kept[-1].labels):
            raise InputError(f"Class {classes[label]} has no image that can be decoded.")
    skipped = tuple(p for p, readable in zip(paths, good, strict=True) if not readable)
    return kept[0], kept[1], skipped


def can_decode(path: Path) -> bool:
    """Whether a file is an image that can be decoded in 8 bits a channel."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            # Decoding a JPEG at an eighth of its size reads all of the file at a fraction of the
            # cost.
            image.draft("RGB", (1, 1))
            image.load()
            if image.mode.startswith(("I", "F")):
                # More than 8 bits a channel, and nothing that says what range they span.
                return False
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def _split(
    images: ImageSet, share: float, rng: np.random.Generator, name: str
) -> tuple[ImageSet, ImageSet]:
    """Take `share` of each class, at least one image, out of `images`."""
    if not 0 < share < 1:
        raise InputError(f"Expected a {name} between 0 and 1. Received: {share}")
    taken: set[int] = set()
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        count = max(round(share * len(members)), 1)
        if count >= len(members):
            raise InputError(
                f"A {name} of {share} leaves no training image of class index {label}, which has "
                f"{len(members)}."
            )
        taken.update(rng.choice(members, count, replace=False).tolist())
    rest = (i for i in range(len(images)) if i not in taken)
    return images.take(rest), images.take(sorted(taken))
