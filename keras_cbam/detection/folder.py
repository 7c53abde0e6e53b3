"""Read a folder of photographs with boxes, in VOC's or COCO's format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_cbam.detection.annotations import Annotated, DetectionSplit, Entry, Photograph, Progress
from keras_cbam.detection.check import check
from keras_cbam.detection.coco import read_coco
from keras_cbam.detection.coco_files import coco_splits
from keras_cbam.detection.splits import NO_SPLITS
from keras_cbam.detection.voc import read_voc, voc_splits
from keras_cbam.errors import InputError, require


@dataclass(frozen=True)
class DetectionFolder:
    """A data set that was read from a folder.

    Attributes:
        classes: the names of the classes; a label is an index into them.
        splits: the requested splits, by name.
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
    """Read photographs with boxes from a folder in the format of Pascal VOC or COCO.

    - VOC: `Annotations/*.xml`, `JPEGImages/`, and lists of names in `ImageSets/Main/<split>.txt`.
    - COCO: `annotations/instances_<split>.json` or `<split>.json`, with the images in `<split>/`,
      in `images/` or beside it; or one file beside the images in each folder `<split>/`.

    A split may also be called `Training`, `valid` or the like. A data set without splits is read
    as the split `default`. Examples are VOC folders without lists, CVAT's `instances_default.json`,
    and a single JSON file of any name. Every image is decoded once.

    Some parts cannot be used. They are left out and listed, and reading goes on:

    - images that are missing, cannot be decoded, or differ in size from their annotation
    - annotations that cannot be read
    - boxes of an unknown class, of zero area, or more than a pixel outside of the image

    Images without boxes are kept. Every detection in them is a false positive.

    Args:
        folder: the folder.
        splits: names of the splits to read.
        classes: names of the classes, in the order of their indices. Defaults to the classes of
            `splits[0]`: VOC's sorted by name, COCO's sorted by id.
        val_split: share of the images to set apart as `val`, in (0, 1), if the folder has no such
            split; the rest is `train`. The same share of the same list gives the same images.
        progress: called for each split with the number of images checked so far and the number of
            all its images.

    Returns:
        A `DetectionFolder`.

    Raises:
        InputError: if the folder has neither format, or if a split is missing or has no usable box
            of a single object.
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
    """The annotation lists of a folder, by split, and the function that reads them."""

    root: Path
    paths: dict[str, Path]
    reader: Callable[[Path, str, Path], Annotated]

    def read(self, split: str) -> Annotated:
        if split in self.paths:
            return self.reader(self.root, split, self.paths[split])
        hint = ""
        if split in ("train", "val") and "val" not in self.paths:
            hint = "; or set apart a share of the images for val, such as --val-split 0.2"
        raise InputError(
            f"Expected a split of {', '.join(self.paths)} in {self.root}. Received: {split}{hint}"
        )


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
    """Divide the images of a folder without a split `val` into `train` and `val`."""
    if not 0 < val_split < 1:
        raise InputError(f"Expected a val split between 0 and 1. Received: {val_split}")
    if "val" in lists.paths:
        raise InputError(f"{lists.root} has {lists.paths['val']}, so no val split can be stated.")
    whole = lists.read("train" if "train" in lists.paths else NO_SPLITS)
    count = max(round(val_split * len(whole.entries)), 1)
    if count >= len(whole.entries):
        raise InputError(
            f"A val split of {val_split} leaves no image to train on. Images: {len(whole.entries)}."
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


def unannotated(paths: Sequence[Path]) -> tuple[Photograph, ...]:
    """Read image files without annotations, turned by their EXIF orientation.

    Files that cannot be decoded are left out.
    """
    require("PIL")
    return check(Annotated([Entry(path, str(path), []) for path in paths], []), ()).photographs
