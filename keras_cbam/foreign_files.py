"""Reading files from untrusted sources, within limits."""

from __future__ import annotations

import copy
import json
import stat
import zipfile
import zlib
from math import isfinite
from pathlib import Path
from typing import Any

from keras_cbam.errors import InputError, refused

# Weights hardly compress, so the ratio of unpacked to packed bytes is limited. An archive that is
# SMALL when unpacked may have any ratio.
LARGEST_EXPANSION = 20
SMALL = 64 * 2**20
_CHUNK = 2**20


def check_file(path: Path) -> None:
    """Check that a path is a regular file, not a folder, a pipe or a device.

    Raises:
        FileNotFoundError: if the path does not exist.
        InputError: if it is not a regular file.
    """
    what = f"Expected a file. Received: {path}, "
    with refused(what, only=(OSError, ValueError), passing=(FileNotFoundError,), told=str):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise InputError(f"Expected a file. Received: {path}, which is not a regular file")


def read_bounded(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises:
        FileNotFoundError: if the path does not exist.
        InputError: if it is not a regular file, has more bytes, or cannot be read.
    """
    check_file(path)
    what = f"Expected a file. Received: {path}, "
    with refused(what, only=(OSError,), told=lambda error: error.strerror), path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"Expected at most {most:,} bytes. Received: {path}, which has more")
    return content


def read_json(path: Path, most: int) -> Any:
    """Read a JSON file of at most `most` bytes in which every number is finite.

    Raises:
        FileNotFoundError: if the path does not exist.
        InputError: if it is not such a file, or cannot be read.
    """
    content = read_bounded(path, most)
    with refused(f"Expected JSON. Received: {path}, ", only=(ValueError, RecursionError), told=str):
        return json.loads(content, parse_constant=_no_number, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        _no_number(text)
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"with {text}, which is no number")


def is_archive(path: Path) -> bool:
    """Return whether a file is a ZIP archive. Only the end of the file decides."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        # It is a ZIP archive, but of a kind that Python does not read.
        return False


def check_archive(path: Path, most: int) -> None:
    """Unpack a ZIP archive chunk by chunk, without keeping it, to check the sizes that it states.

    Args:
        path: the archive.
        most: largest unpacked size in bytes.

    Raises:
        InputError: if the archive cannot be unpacked, is too large when unpacked, or expands by
            too large a factor.
    """
    what = f"Expected an archive that unpacks. Received: {path}, "
    with refused(what, passing=(InputError,)), zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_expansion(sum(entry.file_size for entry in entries), path, most)
        for entry in entries:
            if _unpacked(archive, entry) != entry.file_size:
                raise ValueError(f"its entry {entry.filename!r} has another size than it says")


def check_expansion(unpacked: int, path: Path, most: int) -> None:
    """Raise an `InputError` if an unpacked size is above `most`, or implausible for its file."""
    bound = min(most, max(SMALL, LARGEST_EXPANSION * path.stat().st_size))
    if unpacked > bound:
        raise InputError(
            f"Expected a file that unpacks to at most {bound / 2**20:,.0f} MiB. Received: {path}, "
            f"of {unpacked / 2**20:,.0f} MiB"
        )


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """Count the unpacked bytes of an entry, but stop one chunk after the size that it states."""
    if entry.compress_type == zipfile.ZIP_STORED:
        return entry.compress_size
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"its entry {entry.filename!r} is compressed in another way than deflate")
    packed = copy.copy(entry)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, entry.compress_size
    packed.CRC = None  # type: ignore[assignment]  # The CRC is that of the unpacked bytes.
    unpacker, count = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with archive.open(packed) as file:
        while not unpacker.eof and count <= entry.file_size:
            pending = unpacker.unconsumed_tail or file.read(_CHUNK)
            if not pending:
                return count + len(unpacker.flush())
            count += len(unpacker.decompress(pending, _CHUNK))
    return count
