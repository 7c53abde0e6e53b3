"""The inputs, the pictures and the page of `keras-cbam explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from keras_cbam.cli.model_images import images_in
from keras_cbam.cli.terminal import progress_bar
from keras_cbam.errors import InputError
from keras_cbam.files import publish, staging_directory
from keras_cbam.model_file import labels_beside
from keras_cbam.training import ImageSet
from keras_cbam.visualize import WebPage
from keras_cbam.visualize.classes import class_count
from keras_cbam.visualize.explanation import Explanation
from keras_cbam.visualize.panels import channel_gate_histograms, comparison, panel

PAGE = "index.html"
# Number of images in one picture that compares models.
ROWS = 8
DPI = 110
# The largest number of images on one page. They are in memory with the maps of all layers.
MOST_IMAGES = 200


def draw(
    explained: dict[str, list[Explanation]],
    images: ImageSet,
    labels: Sequence[str],
    output: Path,
    method: str,
) -> None:
    """Write the pictures and the page, and move them to `output` when all are complete."""
    name, ours = next(iter(explained.items()))
    titles = [path.name for path in images.paths]
    with staging_directory(output) as staging, progress_bar() as bar:
        pictures = [f"{i:03d}-{path.stem}.png" for i, path in enumerate(images.paths)]
        task = bar.add_task("drawing", total=len(pictures), note="")
        page = WebPage(f"What {name} attends to")
        page.paragraph(
            f"Heat by {method}, from the score before the softmax, scaled to its maximum. Beside "
            "it: the last spatial gate of each resolution (red strengthens, blue weakens, relative "
            "to its median) and the channel gates of the last layer, ranked."
        )
        if len(explained) > 1:
            page.heading("Models side by side")
            page.paragraph("The heat of one class, and its probability, for each model.")
            for start in range(0, len(titles), ROWS):
                part = slice(start, start + ROWS)
                figure = comparison({k: v[part] for k, v in explained.items()}, titles[part])
                path = staging / f"comparison-{start // ROWS:02d}.png"
                figure.savefig(path, dpi=DPI)
                page.picture(path, f"{', '.join(explained)} on {', '.join(titles[part])}")
        page.heading("Image by image")
        for file, each, title in zip(pictures, ours, titles, strict=True):
            panel(each).savefig(staging / file, dpi=DPI)
            page.picture(staging / file, f"{title}: {each.predicted}, p = {each.probability:.3f}")
            bar.update(task, advance=1, note=title)
        classes = [labels[index] if index >= 0 else "" for index in images.labels]
        if ours[0].channel and len(set(classes)) > 1 and "" not in classes:
            last = list(ours[0].channel)[-1]
            channel_gate_histograms(ours, classes, last).savefig(staging / "channels.png", dpi=DPI)
            page.heading("Channel gates by class")
            page.picture(staging / "channels.png", f"channel gates of {last} by class")
        page.write(staging / PAGE)
        publish(staging, output, last=PAGE)


def models_by_name(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the models by name: their file names, with their folders if file names are equal."""
    stems = [path.stem for path in paths]
    alike = len(set(stems)) < len(stems)
    names = [f"{path.resolve().parent.name}/{path.stem}" if alike else path.stem for path in paths]
    if len(set(names)) < len(names):
        raise InputError(f"Expected models of different names. Received: {', '.join(names)}")
    return dict(zip(names, paths, strict=True))


def labels_of_all(paths: Sequence[Path], models: Sequence[keras.Model]) -> list[str]:
    """Return the classes of all models, from the labels beside them, or their numbers."""
    for path, model in zip(paths, models, strict=True):
        shapes = [tuple(tensor.shape) for tensor in model.outputs]
        if len(shapes) != 1 or len(shapes[0]) != 2:
            raise InputError(
                f"Expected a classifier, with one output (batch, classes), in {path}. "
                f"Received: {shapes}"
            )
    known = {path: read for path in paths if (read := labels_beside(path)) is not None}
    if not known:
        return [str(index) for index in range(class_count(models[0]))]
    first, *others = known
    for other in others:
        if known[other] != known[first]:
            raise InputError(f"Expected models of the same labels. Those of {other} differ.")
    return known[first]


def labelled_images(images: Sequence[Path], labels: Sequence[str]) -> ImageSet:
    """Return the images, labelled by the names of their folders, -1 for no class."""
    for path in images:
        if not path.exists():
            raise InputError(f"Expected images and folders of images. Nothing at: {path}")
    paths = images_in(images)
    if len(paths) > MOST_IMAGES:
        raise InputError(
            f"Expected at most {MOST_IMAGES} images, which one page shows. Received: {len(paths)}"
        )
    known = {label: index for index, label in enumerate(labels)}
    indices = [known.get(path.absolute().parent.name, -1) for path in paths]
    return ImageSet(tuple(paths), np.array(indices, "int32"))


def chosen_class(class_name: str | None, labels: Sequence[str]) -> int | None:
    """Return the index of a class by label or number; `None` for no name."""
    if class_name is None:
        return None
    if class_name in labels:
        return list(labels).index(class_name)
    if class_name.isdecimal() and int(class_name) < len(labels):
        return int(class_name)
    raise InputError(
        f"Expected a class of {', '.join(labels[:5])}{', …' if len(labels) > 5 else ''}, or a "
        f"number below {len(labels)}. Received: {class_name}"
    )
