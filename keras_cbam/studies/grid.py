"""Reproduction of the paper's tables: the runs of a study.

There is one run per network, attention and seed, even if several tables use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras

from keras_cbam.errors import InputError
from keras_cbam.models.catalogue import builder_of
from keras_cbam.studies.run import Run
from keras_cbam.studies.scales import Scale
from keras_cbam.studies.tables import STUDIES, Study
from keras_cbam.training.image_archive import is_image_archive, read_image_archive
from keras_cbam.training.image_batches import check_augmentations
from keras_cbam.training.image_folder import ImageFolder, ImageSet, read_image_folder


def read_images(path: Path) -> ImageFolder:
    """Read a folder with `train/` and `val/`, or with `*train*.npz` and `*test*.npz`.

    Raises:
        InputError: if the folder has neither.
    """
    if is_image_archive(path):
        return read_image_archive(path)
    return read_image_folder(path, selection_split=None)


def check_scale(scale: Scale) -> None:
    """Raise an `InputError` for a scale that a run would refuse."""
    for network in scale.networks:
        # An unknown name raises.
        builder_of(network)
    scale.recipe.check()
    if scale.recipe.group_rates:
        raise InputError(
            "Expected one learning rate for all weights of a study. "
            f"Received: {dict(scale.recipe.group_rates)}"
        )
    check_augmentations(scale.augmentations, scale.crop_area)
    if not scale.networks or len(set(scale.networks)) < len(scale.networks):
        raise InputError(f"Expected different networks. Received: {', '.join(scale.networks)}")
    for name, number in (
        ("image size", scale.image_size),
        ("batch size", scale.batch_size),
        ("number of images", scale.images),
    ):
        if number < 1:
            raise InputError(f"Expected {name} of at least 1. Received: {number}")


def grid(
    studies: Sequence[str], scale: Scale, seeds: Iterable[int], folder: ImageFolder
) -> list[Run]:
    """Return the runs of studies without duplicates, ordered by seed."""
    digest = _digest(folder)
    wanted = dict.fromkeys(
        (network, row.attention)
        for name in studies
        for network in networks(STUDIES[name], scale)
        for row in STUDIES[name].rows
    )
    return [
        describe(network, attention, seed, scale, len(folder.train), digest)
        for seed in seeds
        for network, attention in wanted
    ]


def networks(study: Study, scale: Scale) -> tuple[str, ...]:
    """Return the networks of a study."""
    return scale.networks if study.every_network else scale.networks[:1]


def describe(
    network: str, attention: str, seed: int, scale: Scale, images: int, digest: str
) -> Run:
    """Return a run of a scale on `images` training images."""
    shared = {name: value for name, value in vars(scale).items() if name in Run.__annotations__}
    return Run(
        network=network,
        attention=attention,
        seed=seed,
        epochs=max(round(scale.images / images), 1),
        backend=keras.config.backend(),
        data=digest,
        **shared,
    )


def _digest(folder: ImageFolder) -> str:
    """Return a digest of the images: class names, labels, and bytes or file names and sizes."""
    digest = hashlib.sha256("\n".join(folder.classes).encode())
    for images in (folder.train, folder.val):
        digest.update(images.labels.tobytes())
        digest.update(_contents(images))
    return digest.hexdigest()[:16]


def _contents(images: ImageSet) -> bytes:
    if images.data is not None:
        return b"".join(images.data)
    return "\n".join(f"{path.name} {path.stat().st_size}" for path in images.paths).encode()
