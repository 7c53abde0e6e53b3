"""Names of files and classes as text that a terminal, or a Markdown page, shows as it is."""

from __future__ import annotations

import re
import unicodedata

# What turns the direction of the text that follows it.
TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
# Control characters, ends of lines and paragraphs, and halves of characters.
UNSEEN = ("Cc", "Zl", "Zp", "Cs")
# What begins something in Markdown, or in the HTML that it may hold.
MARKDOWN = re.compile(r"[\\`*_{}\[\]<>#|~&!]")


def printable(text: str, keep: str = "\n\t") -> str:
    """The text with invisible characters written as escapes, such as `\\x1b`."""
    return "".join(char if char in keep or _is_seen(char) else _escape(char) for char in text)


def _is_seen(char: str) -> bool:
    return unicodedata.category(char) not in UNSEEN and ord(char) not in TURNS


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def as_markdown(name: str) -> str:
    """A name as one line of Markdown that shows it and does nothing else."""
    return MARKDOWN.sub(lambda found: f"\\{found.group()}", printable(name, keep=""))
