"""What commands print: tables and one JSON document on stdout, everything else on stderr.

What is no terminal gets one row on one line, however long that is. On a terminal, lines are folded at blanks, and
tables as `table_layout.py` says. JSON and TOML stay as they are: they are made for programs.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from cnnkit.cli.stdout import answers
from cnnkit.errors import CnnkitWarning
from cnnkit.printable_text import cut, on_one_line, printable
from cnnkit.table_layout import Column, fitted
from cnnkit.terminal import console, is_quiet
from cnnkit.text_folding import FURTHER, columns, fold, fold_command, longest_word

if TYPE_CHECKING:
    from rich.console import Console

    from cnnkit.types import Data

WIDEST = 200
"""Columns to which shorter values are filled up."""
MANY = 1_000
"""Entries of a list beyond which its document has no line breaks, so that it is written in no time."""


def on_terminal() -> bool:
    """Whether the answer goes to a terminal."""
    return console(answers()).is_terminal


def answer_width() -> int:
    """The columns of the terminal that the answer goes to; of what is none, more than any line needs."""
    return console(answers()).width


def say(text: str = "", further: int = FURTHER) -> None:
    """Print a line of the answer; further: how much further in its lines go on where it is folded."""
    out = console(answers())
    out.print(_fitting(out, printable(text), further))


def say_command(command: str) -> None:
    """Print a command that can be copied."""
    out = console(answers())
    out.print(fold_command(printable(command), out.width) if out.is_terminal else printable(command))


def say_source(text: str) -> None:
    """Print a text for programs, such as TOML, as it is."""
    console(answers()).print(printable(text))


def note(text: str, command: str = "") -> None:
    """Print a line about the answer, unless all is to be quiet; command: what can be copied stands at its end."""
    if is_quiet():
        return
    err = console(sys.stderr)
    whole = _message(f"{text} {command}" if command else text)
    if err.is_terminal and command and columns(whole) > err.width:
        err.print(_fitting(err, _message(text)))
        err.print(fold_command(f"  {_message(command)}", err.width))
    else:
        err.print(_fitting(err, whole))


def warn(text: str) -> None:
    """Print a warning."""
    _labelled("warning", "bold yellow", text)


def warn_in_short(data: Data) -> None:
    """Print what is to be known of samples, such as how many files are left out, without the lists of these."""
    for warning in data.warnings:
        warn(warning.partition("\n")[0].removesuffix(":"))


@contextmanager
def told_warnings() -> Iterator[None]:
    """What Python, NumPy and the library warn of becomes a line of the command's own, each text once.

    What libraries log for those who set up logging, such as where matplotlib keeps its cache, is not printed.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    told: set[str] = set()

    def show(message: Warning | str, *_place: Any, **_lines: Any) -> None:
        if (text := on_one_line(str(message))) not in told:
            told.add(text)
            warn(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always", CnnkitWarning)
        warnings.showwarning = show
        yield


def fail(text: str, label: str = "error") -> None:
    """Print why there is no answer."""
    _labelled(label, "bold red", text)


def say_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    least: Sequence[str] = (),
    numbers: Collection[str] = (),
) -> None:
    """Print rows under their headings; numbers are set to the right.

    least: the headings of columns that a narrow terminal may do without, the least important one first; numbers: those
    of columns whose numbers are texts already.
    """
    headings = list(map(on_one_line, headings))
    values = [list(row) for row in rows]
    cells = [list(map(_shown, row)) for row in values]
    right = [
        heading in numbers or (bool(values) and all(isinstance(row[at], int | float) for row in values))
        for at, heading in enumerate(headings)
    ]
    out = console(answers())
    if not out.is_terminal:
        typer.echo(_aligned([headings, *cells], right), file=answers())
        return
    table = [
        Column(heading, [row[at] for row in cells], is_number)
        for at, (heading, is_number) in enumerate(zip(headings, right, strict=True))
    ]
    parts, left_out = fitted(table, out.width, least)
    for number, part in enumerate(parts):
        if number:
            out.print()
        out.print("\n".join(part.headings), style="bold")
        if part.rows:
            out.print("\n".join(part.rows))
    if left_out:
        note(f"left out: {', '.join(left_out)}, as the terminal has {out.width} columns; --json has all")


def _aligned(rows: list[list[str]], right: list[bool]) -> str:
    """Rows with their columns under each other, two spaces between them, and no line longer than it must be."""
    # A value that is longer sticks out: a single one must not make every row as long.
    widths = [min(max(map(columns, column)), WIDEST) for column in zip(*rows, strict=True)]

    def padded(cell: str, width: int, is_number: bool) -> str:
        space = " " * (width - columns(cell))
        return space + cell if is_number else cell + space

    lines = ("  ".join(map(padded, row, widths, right)).rstrip() for row in rows)
    return "\n".join(lines)


def say_pairs(pairs: Mapping[str, object]) -> None:
    """Print names with their values, one pair on a line."""
    out = console(answers())
    names = list(map(on_one_line, pairs))
    width = min(max(map(columns, names)), out.width // 2 if out.is_terminal else WIDEST)
    lines = []
    for name, value in zip(names, map(_shown, pairs.values()), strict=True):
        line = f"{name}{' ' * (width - columns(name))}  {value}"
        if out.is_terminal and columns(line) > out.width:
            margin = width + 2
            if longest_word(value) > out.width - margin or columns(name) > width:  # the value gets lines of its own
                margin = len(name) - len(name.lstrip()) + FURTHER
                lines.append(name)
                line = " " * max(0, min(margin, out.width - longest_word(value))) + value
            line = fold(line, out.width, margin - (len(line) - len(line.lstrip())))
        lines.append(line)
    out.print("\n".join(lines))


def say_json(document: Any) -> None:
    """Print the one JSON document of a command; numbers that JSON does not have become null."""
    # With line breaks, Python's own encoder writes 10,000 entries in a second; without them, C does in a tenth.
    indent = None if isinstance(document, list) and len(document) > MANY else 2
    typer.echo(json.dumps(_plain(document), indent=indent), file=answers())


def _labelled(label: str, style: str, text: str) -> None:
    from rich.text import Text

    err = console(sys.stderr)
    message = _fitting(err, f"{label}: {_message(text)}")
    err.print(Text.assemble((f"{label}:", style), message.removeprefix(f"{label}:")))


def _message(text: str) -> str:
    return "\n".join(map(cut, printable(text).split("\n")))


def _fitting(shown: Console, text: str, further: int = FURTHER) -> str:
    """The text in lines that fit into a terminal; as it is elsewhere."""
    return fold(text, shown.width, further) if shown.is_terminal else text


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else on_one_line(str(value))


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value
