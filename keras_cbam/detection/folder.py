"""A folder of photographs with boxes, in VOC's or COCO's format, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_cbam.detection.annotations import DetectionSplit, Entry, Photograph, Progress, check
from keras_cbam.detection.coco import coco_classes, coco_splits, read_coco
from keras_cbam.detection.voc import read_voc, voc_classes, voc_splits
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
    progress: Progress = None,
) -> DetectionFolder:
    """Read photographs with boxes from a folder as Pascal VOC or COCO have it.

    VOC: `Annotations/*.xml`, `JPEGImages/`, and lists of names in `ImageSets/Main/<split>.txt`.
    COCO: `annotations/instances_<split>.json` with the images in `<split>/` or `images/`; or
    `<split>/_annotations.coco.json` beside the images. Every image is decoded once.

    What cannot be used is left out and listed, and stops nothing: images that are missing or cannot
    be decoded, annotations that cannot be read, boxes of unknown class, out of the image by more
    than a pixel, or of zero area. Images without a box are kept: all that is found there is wrong.

    Args:
        folder: the folder.
        splits: which parts to read.
        classes: names of the classes, in the order of their indices. By default those of
            `splits[0]`: VOC's sorted, COCO's by their number.
        progress: called with the number of images of a split checked and the number of all.

    Raises:
        InputError: if the folder is neither, or a split is missing or has no single object.
    """
    require("PIL")
    root = Path(folder)
    if voc_splits(root):
        find, read = voc_classes, read_voc
    elif coco_splits(root):
        find, read = coco_classes, read_coco
    else:
        raise InputError(
            "Expected a folder with ImageSets/Main/*.txt of Pascal VOC, or with COCO's "
            f"annotations/instances_*.json or */_annotations.coco.json. Found none in: {root}"
        )
    names = tuple(classes) if classes is not None else find(root, splits[0])
    found = {split: read(root, split, names, progress) for split in splits}
    for split, part in found.items():
        if not any(len(image.single[1]) for image in part.photographs):
            said = "; ".join(f"{each.where}, {each.what}" for each in part.left_out[:1])
            raise InputError(
                f"Split {split} of {root} has no box that can be used. {said}".rstrip()
            )
    return DetectionFolder(names, found)


def unannotated(paths: Sequence[Path]) -> tuple[tuple[Photograph, ...], tuple[Path, ...]]:
    """Images without annotations: files, and all below folders.

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
    part = check([Entry(path, str(path), []) for path in files], (), ())
    kept = {image.path for image in part.photographs}
    return part.photographs, (*skipped, *(path for path in files if path not in kept))
