"""Texts from anywhere, as they are printed: none steers a terminal, one value is one line, and no line is endless."""

from __future__ import annotations

import re

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
MAX_LINE = 4_096
"""Characters of a value: as many as a path may have, for paths must stay whole."""
NAME = 60
"""Characters of a name that is printed again and again."""


def printable(text: str) -> str:
    """The text with characters that steer a terminal, or turn the direction of writing, as escapes such as \\x1b.

    Labels and names come from model files, which may come from anybody.
    """
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str, most: int = MAX_LINE) -> str:
    """Printable text with line breaks and tabs as \\n and \\t, and cut: a value must not look like a separate row."""
    if text.isascii() and text.isprintable() and len(text) <= most:  # as nearly all of a long table is
        return text
    return cut(printable(text).replace("\n", "\\n").replace("\t", "\\t"), most)


def cut(text: str, most: int = MAX_LINE) -> str:
    """A text that is too long without its end; of what is cut away, the text tells how much it is."""
    if len(text) <= most:
        return text
    kept = most - 40
    return f"{text[:kept]}... ({len(text) - kept:,} characters more)"
