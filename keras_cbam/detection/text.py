"""Text from files of users: reading lines (UTF-8, UTF-16, Latin-1), showing values in messages."""

from __future__ import annotations

import codecs
import reprlib
from pathlib import Path
from typing import Any

from keras_cbam.text import is_seen, printable

# A message shows so many characters of the beginning and of the end of a long text.
BEGINNING, END = 200, 100
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file.

    A byte-order mark of UTF-16 selects UTF-16. Any other file is read as UTF-8. If that fails, it
    is read as Latin-1.

    Raises:
        OSError: if the file cannot be read.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return data.decode("latin-1").splitlines()


def is_name(value: Any) -> bool:
    """Return whether a value can be the name of a class: one line of text, not blank."""
    return isinstance(value, str) and bool(value.strip()) and all(map(is_seen, value))


def brief(value: Any) -> str:
    """Return a value as a message shows it: one line of text of limited length."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    long = len(text) > BEGINNING + END
    shown = f"{text[:BEGINNING]}...{text[-END:]}" if long else text
    return printable(shown, keep="")
