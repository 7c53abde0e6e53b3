"""Finding the images in a folder, and checking their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, NoReturn

from keras_cbam.errors import InputError

# The Pillow formats that are read, with their file suffixes. A file in any other format is not
# opened, whatever its name: the EPS decoder, for example, starts another program.
FORMATS = {
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
# Suffixes of images that are not read.
UNREAD = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"),
        *(".rw2", ".sr2", ".srw", ".heic", ".heics", ".heif", ".hif", ".j2k", ".jp2", ".jpf"),
        *(".jpx", ".jxl", ".jxr", ".wdp", ".dcm", ".exr", ".hdr", ".dds", ".dib", ".icns", ".ico"),
        *(".pcx", ".psd", ".qoi", ".sgi", ".tga", ".emf", ".eps", ".svg", ".wmf"),
    )
)
# Folders that systems put beside images. Like hidden folders, they are not searched and are not
# classes.
LITTER = frozenset(("@eaDir", "__MACOSX"))


class Files(NamedTuple):
    """The images of a folder, sorted.

    Attributes:
        images: the images with a suffix that is read.
        unread: the images with another suffix.
    """

    images: tuple[Path, ...]
    unread: tuple[Path, ...]


def find_files(folder: Path) -> Files:
    """Find all images below a folder by their suffixes. Hidden folders and files are left out.

    Raises:
        InputError: if a folder cannot be read, or the name of an image is not UTF-8.
    """
    images: list[Path] = []
    unread: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not _hidden(name)]
        for path in (Path(place, name) for name in names if not _hidden(name)):
            suffix = path.suffix.lower()
            if suffix in SUFFIXES or suffix in UNREAD:
                check_name(path)
                (images if suffix in SUFFIXES else unread).append(path)
    return Files(tuple(sorted(images)), tuple(sorted(unread)))


def folders_in(folder: Path) -> list[str]:
    """Return the names of the visible folders in a folder; none if the folder does not exist."""
    if not folder.is_dir():
        return []
    try:
        return sorted(p.name for p in folder.iterdir() if p.is_dir() and not _hidden(p.name))
    except OSError as error:
        _refuse(error)


def check_name(path: Path) -> None:
    """Raise an `InputError` for a name that is not UTF-8. No text file could hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"Expected names in UTF-8. Received: {os.fsencode(path)!r}") from error


def check_class_names(names: tuple[str, ...], folder: Path) -> None:
    """Raise an `InputError` for names that cannot be lines of `labels.txt`, a UTF-8 file."""
    for name in names:
        check_name(folder / name)
        if name.splitlines() != [name]:
            raise InputError(
                f"Expected names of classes without line breaks in {folder}. Received: {name!a}"
            )


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in LITTER


def _refuse(error: OSError) -> NoReturn:
    raise InputError(f"Cannot read folder {error.filename}: {error.strerror}.") from error
