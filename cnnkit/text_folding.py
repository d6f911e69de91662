"""Texts folded to the width of a terminal: at blanks, so that words, paths and commands to be copied stay whole."""

from __future__ import annotations

import re
import shlex

PIECE = re.compile(r"( *)(`[^`]{1,80}`[^ ]*|pip install [^ ]+|[^ ]+)")
"""Blanks, and a word or a command to be copied."""
FURTHER = 2
"""Columns by which the lines that go on are set further in."""


def columns(text: str) -> int:
    """How many columns of a terminal a text takes; some letters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def longest_word(text: str) -> int:
    """The columns of its longest word."""
    return max(map(columns, text.split()), default=0)


def fold(text: str, width: int, further: int = FURTHER) -> str:
    """The text in lines of at most `width` columns, each line break kept; further: as `FURTHER`.

    A word that does not fit stands on a line of its own, and only there may a line be longer.
    """
    return "\n".join(part for line in text.expandtabs().split("\n") for part in _folded(line, width, further))


def _folded(line: str, width: int, further: int) -> list[str]:
    if columns(line) <= width:
        return [line]
    lines: list[str] = []
    current, margin = "", 0
    for gap, word in PIECE.findall(line):
        if not lines and not current:
            current, margin = gap + word, len(gap) + further
        elif columns(current) + len(gap) + columns(word) <= width:
            current += gap + word
        else:
            lines.append(current)
            current = " " * max(0, min(margin, width - columns(word))) + word
    return [*lines, current]


def fold_command(command: str, width: int) -> str:
    r"""A command for a shell in lines of at most `width` columns, each but the last with a \ at its end.

    Copied as a whole, it is still one command: no argument in quotes is cut.
    """
    if columns(command) <= width:
        return command
    margin = " " * (len(command) - len(command.lstrip(" ")))
    try:
        first, *arguments = shlex.split(command, posix=False)
        is_whole = shlex.split(command) == [first, *map(_unquoted, arguments)]
    except ValueError:  # of quotes in quotes
        is_whole = False
    if not is_whole:
        return command
    lines = [margin + first]
    for argument in arguments:
        if columns(lines[-1]) + columns(argument) + 3 <= width:
            lines[-1] += f" {argument}"
        else:
            lines.append(f"{margin}{' ' * FURTHER}{argument}")
    return " \\\n".join(lines)


def _unquoted(argument: str) -> str:
    (one,) = shlex.split(argument)
    return one
