"""Text that others wrote: lists of lines in any encoding, and what is shown of it."""

from __future__ import annotations

import codecs
import reprlib
from pathlib import Path
from typing import Any

from keras_cbam.text import is_seen, printable

# The most characters of it that a message shows, of its beginning and its end.
BEGINNING, END = 200, 100
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file: UTF-8 or, by its byte-order mark, UTF-16; otherwise Latin-1.

    Raises:
        OSError: if it cannot be read.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return data.decode("latin-1").splitlines()


def is_name(value: Any) -> bool:
    """Whether a value can be the name of a class: a line of a text file, not blank."""
    return isinstance(value, str) and bool(value.strip()) and all(map(is_seen, value))


def brief(value: Any) -> str:
    """A value as a message shows it: one line of text, not too long."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    long = len(text) > BEGINNING + END
    shown = f"{text[:BEGINNING]}...{text[-END:]}" if long else text
    return printable(shown, keep="")
