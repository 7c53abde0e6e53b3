"""Files that somebody else may have made, read within bounds."""

from __future__ import annotations

import copy
import json
import stat
import zipfile
import zlib
from math import isfinite
from pathlib import Path
from typing import IO, Any

from keras_cbam.errors import InputError
from keras_cbam.text import sentence

# An archive of weights packs hardly at all. One that is small unpacked may pack as it likes.
LARGEST_EXPANSION = 20
SMALL = 64 * 2**20
_CHUNK = 2**20


def check_file(path: Path) -> None:
    """See that there is a file, and neither a folder, a pipe nor a device.

    Raises:
        FileNotFoundError: if there is nothing.
        InputError: if it is something else.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"Expected a file. Received: {path}, {error}") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"Expected a file. Received: {path}, which is not a regular file")


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes, and no pipe or device.

    Raises:
        FileNotFoundError: if there is nothing.
        InputError: if it is no such file, or cannot be read.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InputError(f"Expected a file. Received: {path}, {error.strerror}") from error
    if len(content) > most:
        raise InputError(f"Expected at most {most:,} bytes. Received: {path}, which has more")
    return content


def read_json(path: Path, most: int) -> Any:
    """Read JSON of at most `most` bytes, in which every number is finite.

    Raises:
        FileNotFoundError: if there is no file.
        InputError: if it is anything else.
    """
    content = read_bounded(path, most)
    try:
        return json.loads(content, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"Expected JSON. Received: {path}, {error}") from error


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        _no_number(text)
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"with {text}, which is no number")


def is_archive(path: Path) -> bool:
    """Whether a file is a ZIP archive, by its end."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        # It is one, of a kind that Python does not read.
        return False


def check_archive(file: IO[bytes] | Path, size: int, most: int, name: str | Path) -> None:
    """Unpack a ZIP archive and keep nothing, to see that it is no larger than it says.

    Args:
        file: the archive.
        size: its bytes.
        most: the bytes that it may have unpacked.
        name: what it is called, for errors.

    Raises:
        InputError: if it unpacks to more, to far more than it weighs, or not at all.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            check_expansion(sum(entry.file_size for entry in entries), size, most, name)
            for entry in entries:
                if _unpacked(archive, entry) != entry.file_size:
                    raise ValueError(f"its entry {entry.filename!r} has another size than it says")
    except InputError:
        raise
    except Exception as error:  # whatever damage makes the readers raise
        raise InputError(
            f"Expected an archive that unpacks. Received: {name}, {sentence(error)}"
        ) from error


def check_expansion(unpacked: int, size: int, most: int, name: str | Path) -> None:
    """Raise an `InputError` if something is larger than `most`, or than it can have been packed."""
    bound = min(most, max(SMALL, LARGEST_EXPANSION * size))
    if unpacked > bound:
        raise InputError(
            f"Expected a file that unpacks to at most {bound / 2**20:,.0f} MiB. Received: {name}, "
            f"of {unpacked / 2**20:,.0f} MiB"
        )


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> int:
    """How many bytes an entry has, whatever it says; at most a chunk more than that is unpacked."""
    if entry.compress_type == zipfile.ZIP_STORED:
        return entry.compress_size
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"its entry {entry.filename!r} is compressed in another way than deflate")
    packed = copy.copy(entry)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, entry.compress_size
    packed.CRC = None  # type: ignore[assignment]  # It is that of the unpacked bytes.
    unpacker, count = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with archive.open(packed) as file:
        while not unpacker.eof and count <= entry.file_size:
            pending = unpacker.unconsumed_tail or file.read(_CHUNK)
            if not pending:
                return count + len(unpacker.flush())
            count += len(unpacker.decompress(pending, _CHUNK))
    return count
