"""A folder of photographs with boxes, in VOC's or COCO's format, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_cbam.detection.annotations import (
    Annotated,
    DetectionSplit,
    Entry,
    Photograph,
    Progress,
)
from keras_cbam.detection.check import check
from keras_cbam.detection.coco import read_coco
from keras_cbam.detection.coco_files import coco_splits
from keras_cbam.detection.splits import WHOLE
from keras_cbam.detection.voc import read_voc, voc_splits
from keras_cbam.errors import InputError, require
from keras_cbam.training.image_folder import find_images


@dataclass(frozen=True)
class DetectionFolder:
    """A data set, read.

    Attributes:
        classes: the names of the classes; a label is an index into them.
        splits: the parts that were asked for, by name.
    """

    classes: tuple[str, ...]
    splits: dict[str, DetectionSplit]

    def __getitem__(self, split: str) -> DetectionSplit:
        return self.splits[split]


def read_detection_folder(
    folder: str | Path,
    splits: Sequence[str] = ("train", "val"),
    *,
    classes: Sequence[str] | None = None,
    val_split: float | None = None,
    progress: Progress = None,
) -> DetectionFolder:
    """Read photographs with boxes from a folder as Pascal VOC or COCO have it.

    VOC: `Annotations/*.xml`, `JPEGImages/`, and lists of names in `ImageSets/Main/<split>.txt`.
    COCO: `annotations/instances_<split>.json`, or `<split>.json`, with the images in `<split>/` or
    `images/` or beside it; or one file beside the images in each folder `<split>/`. A split may be
    called `Training`, `valid` or the like. What has no splits, such as VOC's folders without lists,
    CVAT's `instances_default.json` or one JSON file of any name, is the split `default`. Every
    image is decoded once.

    What cannot be used is left out and listed, and stops nothing: images that are missing or cannot
    be decoded, or are of another size than annotated, annotations that cannot be read, boxes of
    unknown class, out of the image by more than a pixel, or of zero area. Images without a box are
    kept: all that is found there is wrong.

    Args:
        folder: the folder.
        splits: which parts to read.
        classes: names of the classes, in the order of their indices. By default those of
            `splits[0]`: VOC's sorted, COCO's by their number.
        val_split: share of the images set apart as `val`, in (0, 1), where there is no such list;
            the rest is `train`. The same share of the same list gives the same images.
        progress: called with the number of images of a split checked and the number of all.

    Raises:
        InputError: if the folder is neither, or a split is missing or has no single object.
    """
    require("PIL")
    root = Path(folder)
    lists = _lists(root)
    annotated = _divided(lists, val_split) if val_split is not None else {}
    for split in dict.fromkeys(splits):
        if split not in annotated:
            annotated[split] = lists.read(split)
    names = tuple(classes) if classes is not None else annotated[splits[0]].classes
    found = {split: check(annotated[split], names, progress) for split in splits}
    for split, part in found.items():
        if not part.boxes:
            said = "; ".join(f"{each.where}, {each.what}" for each in part.left_out[:1])
            raise InputError(
                f"Split {split} of {root} has no box that can be used. {said}".rstrip()
            )
    return DetectionFolder(names, found)


@dataclass(frozen=True)
class _Lists:
    """The lists of a folder, by split, and what reads them."""

    root: Path
    paths: dict[str, Path]
    reader: Callable[[Path, str, Path], Annotated]

    def read(self, split: str) -> Annotated:
        if split not in self.paths:
            raise InputError(
                f"Expected a split of {', '.join(self.paths)} in {self.root}. Received: {split}"
                f"{self._hint(split)}"
            )
        return self.reader(self.root, split, self.paths[split])

    def _hint(self, split: str) -> str:
        if split not in ("train", "val") or "val" in self.paths:
            return ""
        return "; or state the share of the images to score on, such as --val-split 0.2"


def _lists(root: Path) -> _Lists:
    for find, read in ((voc_splits, read_voc), (coco_splits, read_coco)):
        if paths := find(root):
            return _Lists(root, paths, read)
    raise InputError(
        "Expected a folder with ImageSets/Main/*.txt or Annotations/*.xml of Pascal VOC, or with "
        "COCO's annotations/instances_*.json, */_annotations.coco.json or one JSON file beside the "
        f"images. Found none in: {root}"
    )


def _divided(lists: _Lists, val_split: float) -> dict[str, Annotated]:
    """`train` and `val` of a folder that has no such list of val."""
    if not 0 < val_split < 1:
        raise InputError(f"Expected a val split between 0 and 1. Received: {val_split}")
    if "val" in lists.paths:
        raise InputError(f"{lists.root} has {lists.paths['val']}, so no val split can be stated.")
    whole = lists.read("train" if "train" in lists.paths else WHOLE)
    count = max(round(val_split * len(whole.entries)), 1)
    if count >= len(whole.entries):
        raise InputError(
            f"A val split of {val_split} leaves no image to train on, of {len(whole.entries)}."
        )
    drawn = np.random.default_rng(0).permutation(len(whole.entries))[:count]
    val = set(drawn.tolist())
    places = {entry.where for index, entry in enumerate(whole.entries) if index in val}
    parts = {}
    for name, wanted in (("train", False), ("val", True)):
        entries = [e for index, e in enumerate(whole.entries) if (index in val) == wanted]
        left_out = [each for each in whole.left_out if (each.where in places) == wanted]
        parts[name] = Annotated(entries, left_out, whole.classes)
    return parts


def unannotated(paths: Sequence[Path]) -> tuple[tuple[Photograph, ...], tuple[Path, ...]]:
    """Images without annotations: files, and all below folders; turned as EXIF says.

    Returns:
        The images, and the files that cannot be decoded.

    Raises:
        InputError: if a folder has no image that can be decoded.
    """
    require("PIL")
    files: list[Path] = []
    skipped: list[Path] = []
    for path in paths:
        if path.is_dir():
            found, wrong = find_images(path)
            files += found.paths
            skipped += wrong
        else:
            files.append(path)
    part = check(Annotated([Entry(path, str(path), []) for path in files], []), ())
    kept = {image.path for image in part.photographs}
    return part.photographs, (*skipped, *(path for path in files if path not in kept))
