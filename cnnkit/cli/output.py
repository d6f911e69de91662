"""What commands print: tables and one JSON document on stdout, everything else on stderr.

Nothing is wrapped or cut when the output is not a terminal, so that paths and references stay whole.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from cnnkit.cli.answers import answers
from cnnkit.errors import CnnkitWarning

if TYPE_CHECKING:
    from rich.console import Console

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
ENDLESS = 10_000
"""Columns of what is not a terminal."""
MANY = 1_000
"""Rows beyond which speed comes first: rich takes seconds to fit 10,000 rows into a terminal."""


def console(*, stderr: bool = False) -> Console:
    """A console on the streams of this moment; square brackets in what it prints have no meaning."""
    from rich.console import Console

    made = Console(stderr=stderr, file=None if stderr else answers(), highlight=False, markup=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = ENDLESS
    return made


def say(text: str = "") -> None:
    """Print a line of the answer."""
    console().print(printable(text))


def note(text: str) -> None:
    """Print a line about the answer."""
    console(stderr=True).print(printable(text))


def warn(text: str) -> None:
    """Print a warning."""
    _labelled("warning", "bold yellow", text)


@contextmanager
def told_warnings() -> Iterator[None]:
    """What the library warns of becomes a line of the command's own, each text once."""
    told: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **lines: Any) -> None:
            if not issubclass(category, CnnkitWarning):
                others(message, category, *place, **lines)
            elif str(message) not in told:
                told.add(str(message))
                warn(str(message))

        warnings.simplefilter("always", CnnkitWarning)
        warnings.showwarning = show
        yield


def fail(text: str, label: str = "error") -> None:
    """Print why there is no answer."""
    _labelled(label, "bold red", text)


def printable(text: str) -> str:
    """The text with characters that steer a terminal, or turn the direction of writing, as escapes such as \\x1b.

    Labels and names come from model files, which may come from anybody.
    """
    return STEERING.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def say_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; numbers are set to the right."""
    values = [list(row) for row in rows]
    cells = [list(map(_shown, row)) for row in values]
    right = [bool(values) and all(isinstance(row[i], int | float) for row in values) for i in range(len(headings))]
    out = console()
    if not out.is_terminal or len(cells) > MANY:
        typer.echo(_aligned([list(headings), *cells], right), file=answers())
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
    from rich.cells import cell_len, set_cell_size

    rows = [[cell.replace("\n", "\\n") for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]

    def padded(cell: str, width: int, is_number: bool) -> str:
        if is_number:
            return cell.rjust(width)
        return cell.ljust(width) if cell.isascii() else set_cell_size(cell, width)

    lines = ("  ".join(map(padded, row, widths, right)).rstrip() for row in rows)
    return "\n".join(lines)


def say_pairs(pairs: Mapping[str, object]) -> None:
    """Print names with their values, one pair on a line."""
    width = max(map(len, pairs))
    say("\n".join(f"{name:<{width}}  {_shown(value)}" for name, value in pairs.items()))


def say_json(document: Any) -> None:
    """Print the one JSON document of a command; numbers that JSON does not have become null."""
    # With line breaks, Python's own encoder writes 10,000 entries in a second; without them, C does in a tenth.
    indent = None if isinstance(document, list) and len(document) > MANY else 2
    typer.echo(json.dumps(_plain(document), indent=indent), file=answers())


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 epoch", "2 epochs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _labelled(label: str, style: str, text: str) -> None:
    from rich.text import Text

    console(stderr=True).print(Text.assemble((f"{label}: ", style), printable(text)))


def on_one_line(text: str) -> str:
    """The same with line breaks as \\n: a text from a file must not look like a row of its own."""
    return text.replace("\n", "\\n")


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else on_one_line(printable(str(value)))


def _plain(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value
