"""What commands print: tables and one JSON document on stdout, everything else on stderr.

Nothing is wrapped or cut when the output is not a terminal, so that paths and references stay whole.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from cnnkit.cli.stdout import answers
from cnnkit.errors import CnnkitWarning
from cnnkit.lines import cut, on_one_line, printable
from cnnkit.terminal import console

WIDEST = 200
"""Columns to which shorter values are filled up."""
MANY = 1_000
"""Rows beyond which speed comes first: rich takes seconds to fit 10,000 rows into a terminal."""


def say(text: str = "") -> None:
    """Print a line of the answer."""
    console(answers()).print(printable(text))


def note(text: str) -> None:
    """Print a line about the answer."""
    console(sys.stderr).print(_message(text))


def warn(text: str) -> None:
    """Print a warning."""
    _labelled("warning", "bold yellow", text)


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


def say_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; numbers are set to the right."""
    headings = list(map(on_one_line, headings))
    values = [list(row) for row in rows]
    cells = [list(map(_shown, row)) for row in values]
    right = [bool(values) and all(isinstance(row[i], int | float) for row in values) for i in range(len(headings))]
    out = console(answers())
    if not out.is_terminal or len(cells) > MANY:
        typer.echo(_aligned([headings, *cells], right), file=answers())
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, is_number in zip(headings, right, strict=True):
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    out.print(table, soft_wrap=False)


def _aligned(rows: list[list[str]], right: list[bool]) -> str:
    """Rows with their columns under each other, two spaces between them, and no line longer than it must be."""
    from rich.cells import cell_len

    def columns_of(cell: str) -> int:
        return len(cell) if cell.isascii() else cell_len(cell)

    # A value that is longer sticks out: a single one must not make every row as long.
    widths = [min(max(map(columns_of, column)), WIDEST) for column in zip(*rows, strict=True)]

    def padded(cell: str, width: int, is_number: bool) -> str:
        space = " " * (width - columns_of(cell))
        return space + cell if is_number else cell + space

    lines = ("  ".join(map(padded, row, widths, right)).rstrip() for row in rows)
    return "\n".join(lines)


def say_pairs(pairs: Mapping[str, object]) -> None:
    """Print names with their values, one pair on a line."""
    names = list(map(on_one_line, pairs))
    width = min(max(map(len, names)), WIDEST)
    say("\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in zip(names, pairs.values(), strict=True)))


def say_json(document: Any) -> None:
    """Print the one JSON document of a command; numbers that JSON does not have become null."""
    # With line breaks, Python's own encoder writes 10,000 entries in a second; without them, C does in a tenth.
    indent = None if isinstance(document, list) and len(document) > MANY else 2
    typer.echo(json.dumps(_plain(document), indent=indent), file=answers())


def _labelled(label: str, style: str, text: str) -> None:
    from rich.text import Text

    console(sys.stderr).print(Text.assemble((f"{label}: ", style), _message(text)))


def _message(text: str) -> str:
    return "\n".join(map(cut, printable(text).split("\n")))


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
