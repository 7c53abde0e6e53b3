"""Untrusted text, made safe to show in a terminal, a message or a Markdown page."""

from __future__ import annotations

import re
import unicodedata

# Characters that change the direction of the text after them.
DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
# Unicode categories: control characters, line and paragraph separators, and surrogates.
UNSEEN = ("Cc", "Zl", "Zp", "Cs")
# Characters that begin markup in Markdown or in its HTML. An underscore within a word does not.
MARKDOWN = re.compile(r"[\\`*{}\[\]<>#|~&!]|(?<![^\W_])_|_(?![^\W_])")


def printable(text: str, keep: str = "\n\t") -> str:
    """Return text with its invisible characters escaped, such as `\\x1b`."""
    return "".join(char if char in keep or is_seen(char) else ascii(char)[1:-1] for char in text)


def is_seen(char: str) -> bool:
    """Return whether a character can be shown: it is not in `UNSEEN` or `DIRECTIONS`."""
    return unicodedata.category(char) not in UNSEEN and ord(char) not in DIRECTIONS


def as_markdown(name: str) -> str:
    """Return a name as one line of Markdown, with all markup and HTML escaped."""
    return MARKDOWN.sub(lambda found: f"\\{found.group()}", printable(name, keep=""))


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def error_reason(error: BaseException) -> str:
    """Return the first line of the message of an error as part of a sentence, without its dot."""
    return first_line(error).rstrip(".")


def error_type(error: BaseException) -> str:
    """Return the name of the type of an error."""
    return type(error).__name__


def sentence(error: BaseException) -> str:
    """Return the message of an error in one line, or its type if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
