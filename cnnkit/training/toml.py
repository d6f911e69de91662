"""TOML from anybody, where what would take tomllib minutes, or Python's stack, is refused before; and TOML written."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from typing import Any

MAX_DEPTH = 32
MAX_PARTS = 16
"""Of a key with dots: the time that tomllib takes grows with their square."""
MAX_PIECES = 10_000
"""Points and opening brackets: behind each may be a table, which takes tomllib up to 2 KiB and 20 microseconds."""
MAX_BITS = 64
WIDTH = 120
"""Characters of a line that is written, where it has blanks."""
FURTHER = "    "

_TEXTS = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''.*?(?:'''|\Z)"
    r'|"(?:\\.|[^"\\\n])*+"?'
    r"|'[^'\n]*'?"
    r"|\#[^\n]*",
    re.DOTALL,
)
"""Strings and comments; one that does not end goes as far as it can, for tomllib to complain about."""
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


def read_toml(text: str) -> dict[str, Any]:
    """The values of a document. Raises ValueError for what is not TOML, nests too deeply, or has numbers too large."""
    structure = _TEXTS.sub("x", text)
    if any(piece.count(".") >= MAX_PARTS for piece in re.split(r"[=,\[\]{}\n]", structure)):
        raise ValueError(f"expected keys of at most {MAX_PARTS} parts, it has one with more")
    steps = (_BRACKETS[bracket] for bracket in re.findall(r"[\[\]{}]", structure))
    if max(itertools.accumulate(steps), default=0) > MAX_DEPTH:
        raise ValueError(f"expected values that nest at most {MAX_DEPTH} deep, it has deeper ones")
    if (pieces := len(re.findall(r"[.\[{]", structure))) > MAX_PIECES:
        raise ValueError(f"expected at most {MAX_PIECES:,} points and opening brackets, it has {pieces:,}")
    values = tomllib.loads(text)
    _check_numbers(values)
    return values


def _check_numbers(value: Any) -> None:
    """Whole numbers as TOML has them, 64 bits: Python would read far larger ones, and could not print them."""
    match value:
        case int() if value.bit_length() > MAX_BITS:
            raise ValueError(f"expected whole numbers of at most {MAX_BITS} bits, it has one of {value.bit_length():,}")
        case dict():
            for item in value.values():
                _check_numbers(item)
        case list():
            for item in value:
                _check_numbers(item)


def written(value: Any, width: int = WIDTH, before: int = 0) -> str:
    """A string, number, bool, list of strings or dict as TOML; JSON's notation is TOML's, but for the character DEL.

    width: of its lines, where they can be folded; before: characters that stand before it.
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {written(one, width)}" for key, one in value.items()) + " }"
    if isinstance(value, list) and value:
        return "[\n" + "".join(f"{FURTHER}{written(item, width, len(FURTHER) + 1)},\n" for item in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if "\n" in value or (" " in value and len(json.dumps(value)) + before > width):
        return _folded(value, width)
    if '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"  # as one writes an expression that has a text in it
    return _escaped(value)


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _folded(text: str, width: int) -> str:
    r"""A text of several lines; those that are too long are folded at blanks, by a \ at the end."""
    lines = []
    for line in text.split("\n"):
        escaped = _escaped(line)[1:-1]
        plain = escaped.replace('\\"', '"')
        pieces = re.findall(r"[^ ]+ *| +", plain if '"""' not in plain else escaped)
        current = pieces[0] if pieces else ""
        margin = current if current.isspace() and len(current) < width // 2 else ""
        for piece in pieces[1:]:
            if len(current) + len(piece) < width or current.isspace():
                current += piece
            else:
                lines.append(f"{current}\\\n")
                current = margin + FURTHER + piece
        lines.append(f"{current}\n")
    return '"""\\\n' + "".join(lines)[:-1] + '\\\n"""'
