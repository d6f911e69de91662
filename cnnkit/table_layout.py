"""Tables that fit a terminal.

What is too wide is made narrower by the first of these that is enough:

1. Columns without any value are left out.
2. Long texts are folded at their blanks; short ones, such as a time, stay on one line.
3. The columns that the table says it needs least are left out, one by one.
4. Short texts are folded, too.
5. The columns with the longest words get what the others leave: a cell with a word that is longer stands on lines of
   its own, below the cells before it.
6. The table goes on below itself, each part with the first column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import NamedTuple

from cnnkit.text_folding import columns as columns_of
from cnnkit.text_folding import fold, longest_word

GAP = 2
"""Columns between two columns of a table."""
SHORT = 20
"""Columns of a text that is folded only where nothing can be left out."""
NARROW = 8
"""Columns that are enough for the column whose words stand on lines of their own."""


@dataclass(frozen=True)
class Column:
    """One column of a table; its heading may be folded, its numbers may not."""

    heading: str
    cells: Sequence[str]
    is_number: bool

    @cached_property
    def natural(self) -> int:
        """Its width if nothing is folded."""
        return max([columns_of(self.heading), *map(columns_of, self.cells)])

    @cached_property
    def least(self) -> int:
        """Its width if all is folded that can be."""
        return max([longest_word(self.heading), *map(columns_of if self.is_number else longest_word, self.cells)])

    @cached_property
    def on_one_line(self) -> int:
        """Its width if the heading alone is folded."""
        return max([longest_word(self.heading), *map(columns_of, self.cells)])

    def lines(self, row: int, width: int) -> list[str]:
        """The lines of a cell."""
        cell = self.cells[row]
        return [cell] if columns_of(cell) <= width else fold(cell, width, 0).split("\n")


class Part(NamedTuple):
    """Lines that stand below each other."""

    headings: list[str]
    rows: list[str]


def fitted(columns: Sequence[Column], width: int, least: Sequence[str] = ()) -> tuple[list[Part], list[str]]:
    """A table of at most `width` columns, and the headings of the columns that are left out for that.

    least: the headings of what may be left out, the least important one first.
    """
    chosen, left_out = list(columns), []
    if _total([one.natural for one in chosen]) > width:
        chosen = [one for one in chosen if any(one.cells)] or chosen
    for heading in ["", *least]:
        if any(one.heading == heading for one in chosen) and heading:
            chosen = [one for one in chosen if one.heading != heading]
            left_out.append(heading)
        bounds = [one.least if one.natural > SHORT else one.on_one_line for one in chosen]
        if widths := _widths(chosen, bounds, width):
            return [_part(chosen, widths, width)], left_out
    if widths := _widths(chosen, [one.least for one in chosen], width) or _with_long_words(chosen, width):
        return [_part(chosen, widths, width)], left_out
    return [_part(part, _some_widths(part, width), width) for part in _cut(chosen, width)], left_out


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _widths(columns: Sequence[Column], bounds: Sequence[int], width: int) -> list[int]:
    """A width for each column, none below its bound, with the widest made narrower first; none if that is too wide."""
    widths = [one.natural for one in columns]
    if _total(bounds) > width:
        return []
    while (excess := _total(widths) - width) > 0:
        free = [at for at, bound in enumerate(bounds) if widths[at] > bound]
        widest = max(free, key=lambda at: widths[at])
        others = [widths[at] for at in free if at != widest]
        step = max(1, widths[widest] - max(others, default=0))
        widths[widest] -= min(step, excess, widths[widest] - bounds[widest])
    return widths


def _with_long_words(columns: Sequence[Column], width: int) -> list[int]:
    """As `_widths`, with less than their longest words for the columns that have the longest; none if too wide."""
    bounds = [one.least for one in columns]
    texts = [at for at, one in enumerate(columns) if not one.is_number and one.least > SHORT]
    for at in sorted(texts, key=lambda at: -bounds[at]):
        bounds[at] = max(longest_word(columns[at].heading), NARROW)
        if widths := _widths(columns, bounds, width):
            return widths
    return []


def _cut(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """The columns in parts that fit, each with the first one."""
    first, *others = columns
    parts = [[first]]
    for one in others:
        if len(parts[-1]) > 1 and not _some_widths([*parts[-1], one], width):
            parts.append([first])
        parts[-1].append(one)
    return parts


def _some_widths(columns: Sequence[Column], width: int) -> list[int]:
    """Widths that fit; none if there are none, but half of all for a column beside the first in any case."""
    bounds = [one.least for one in columns]
    found = _widths(columns, bounds, width) or _with_long_words(columns, width)
    return found or ([min(one.natural, (width - GAP) // 2) for one in columns] if len(columns) <= 2 else [])


def _part(columns: Sequence[Column], widths: Sequence[int], width: int) -> Part:
    rows = range(len(columns[0].cells))
    return Part(_heading(columns, widths), [line for row in rows for line in _row(columns, widths, row, width)])


def _heading(columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    cells = [fold(one.heading, size, 0).split("\n") for one, size in zip(columns, widths, strict=True)]
    height = max(map(len, cells))
    return _beside(columns, widths, [[""] * (height - len(lines)) + lines for lines in cells])


def _row(columns: Sequence[Column], widths: Sequence[int], row: int, width: int) -> list[str]:
    """The lines of a row; a cell with a word that is too long stands below those before it, above those after it."""
    lines: list[str] = []
    cells: list[list[str]] = []
    for one, size in zip(columns, widths, strict=True):
        parts = one.lines(row, size)
        if any(columns_of(part) > size for part in parts):
            lines += _beside(columns, widths, cells)
            lines += fold(f"{' ' * GAP if cells else ''}{one.cells[row]}", width, 0).split("\n")
            cells = [[] for _ in cells]
            parts = []
        cells.append(parts)
    return lines + (_beside(columns, widths, cells) or [""] * (not lines))


def _beside(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[Sequence[str]]) -> list[str]:
    """The lines of cells that stand beside each other, of the first columns."""
    lines = []
    for texts in zip_longest(*cells, fillvalue=""):
        padded = []
        for one, size, text in zip(columns, widths, texts, strict=False):
            space = " " * (size - columns_of(text))
            padded.append(space + text if one.is_number else text + space)
        lines.append((" " * GAP).join(padded).rstrip())
    return lines
