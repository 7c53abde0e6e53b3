"""Text that others wrote, as a terminal, a message or a Markdown page can show it."""

from __future__ import annotations

import re
import unicodedata

# Characters that turn the direction of the text after them.
DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
# Control characters, ends of lines and paragraphs, and halves of characters.
UNSEEN = ("Cc", "Zl", "Zp", "Cs")
# What begins something in Markdown, or in the HTML that it may hold; within a word `_` does not.
MARKDOWN = re.compile(r"[\\`*{}\[\]<>#|~&!]|(?<![^\W_])_|_(?![^\W_])")


def printable(text: str, keep: str = "\n\t") -> str:
    """The text with invisible characters written as escapes, such as `\\x1b`."""
    return "".join(char if char in keep or is_seen(char) else ascii(char)[1:-1] for char in text)


def is_seen(char: str) -> bool:
    """Whether a character can be shown: it is no control character, line end or half of one."""
    return unicodedata.category(char) not in UNSEEN and ord(char) not in DIRECTIONS


def as_markdown(name: str) -> str:
    """A name as one line of Markdown, with what begins markup or HTML escaped."""
    return MARKDOWN.sub(lambda found: f"\\{found.group()}", printable(name, keep=""))


def sentence(error: BaseException) -> str:
    """What an error says, in one line; its kind if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
