"""Tables as text: one line for each sample, with its columns separated by commas, semicolons, tabs or spaces."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnkit.class_indices import listed
from cnnkit.data.formats.checked_files import open_regular
from cnnkit.errors import DataError
from cnnkit.file_kinds import is_no_table, seems
from cnnkit.types import Array

SEPARATORS = ",;\t"
SAMPLE = 2**16
NO_NUMBER = re.compile(r"could not convert string (.*) to float32 at row (\d+), column (\d+)\.")
"""How NumPy says that; rows count from 0 below the header, columns from 1."""
KIND = "a table as text, such as a CSV file"


@dataclass(frozen=True)
class TextTable:
    """What a table holds."""

    columns: tuple[str, ...]
    """The names of the numbers' columns; their positions, as text, where there is no header."""
    numbers: Array
    """(N, F) float32."""
    targets: Array
    """(N,) text."""


def read_table(path: Path, target: str | int) -> TextTable:
    """A table whose columns are numbers, but for the one with the targets.

    The first line is a header if `target` is a name, or if any of its cells outside of that column is no number.
    target: the name of the targets' column, or its position, from 0, or from the end if it is negative.
    Raises DataError for a file that is no such table, naming line and column.
    """
    lines, separator = _lines(path, None)
    first = _cells(lines[0], separator)
    column = _column(path, first, target)
    others = [at for at in range(len(first)) if at != column]
    has_header = isinstance(target, str) or not all(_is_number(first[at]) for at in others)
    if not others or len(lines) == has_header:
        raise DataError(f"{path}: expected {KIND}, with columns beside the target's and lines below the header")
    table = _Lines(path, lines, separator, tuple(first), has_header)
    table.check_lengths()
    numbers = table.read(others, np.float32)
    targets = np.char.strip(table.read([column], np.str_)[:, 0])
    table.check_targets(targets, column)
    names = tuple(first[at] if has_header else str(at) for at in others)
    return TextTable(names, numbers, targets)


def first_line(path: Path) -> list[str]:
    """The cells of the first line of a table. Raises DataError for a file that is none."""
    lines, separator = _lines(path, SAMPLE)
    return _cells(lines[0], separator)


def _lines(path: Path, most: int | None) -> tuple[list[str], str]:
    """The lines that are not empty, at least one, and what separates their columns; most: bytes to read."""
    with open_regular(path, KIND) as file:
        content = file.read(most)
    try:
        text = content.decode("utf-8-sig", "ignore" if most else "strict")
    except UnicodeDecodeError:
        text = ""
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    if not lines or "\0" in lines[0] or is_no_table(content):
        raise DataError(f"{path}: expected {KIND}, {seems(content)}")
    separator = max(SEPARATORS, key=lines[0].count)
    if separator in lines[0]:
        return lines, separator
    return [" ".join(line.split()) for line in lines], " "


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator))]


def _column(path: Path, first: Sequence[str], target: str | int) -> int:
    if isinstance(target, int) and -len(first) <= target < len(first):
        return target % len(first)
    if target in first:
        return first.index(str(target))
    raise DataError(f"{path}: expected a column {target!r} with the targets; its first line is {listed(first)}")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class _Lines:
    """The lines of a table that are not empty."""

    path: Path
    lines: Sequence[str]
    separator: str
    first: tuple[str, ...]
    has_header: bool

    def check_lengths(self) -> None:
        """Raises DataError unless all lines have as many cells as the first."""
        expected = len(self.first)
        quoted = any('"' in line for line in self.lines)
        cells = csv.reader(self.lines, delimiter=self.separator) if quoted else ()
        counts = map(len, cells) if quoted else (line.count(self.separator) + 1 for line in self.lines)
        for number, count in enumerate(counts):
            if count != expected:
                raise DataError(f"{self._at(number)}: expected {expected} columns, as in the first line, got {count}")

    def check_targets(self, cells: Array, column: int) -> None:
        """Raises DataError for a cell that is empty, NaN or infinite: it would be a class of its own."""
        for row, cell in enumerate(cells.tolist()):
            if not cell or (_is_number(cell) and not math.isfinite(float(cell))):
                name = repr(self.first[column]) if self.has_header else column
                raise DataError(f"{self._at(row + self.has_header)}: expected a target in column {name}, got {cell!r}")

    def read(self, columns: list[int], dtype: type) -> Array:
        """The cells of these columns, (N, F). Raises DataError for one that is no finite number, if they must be."""
        try:
            found: Array = np.loadtxt(
                self.lines,
                dtype,
                comments=None,
                delimiter=self.separator,
                skiprows=int(self.has_header),
                usecols=columns,
                ndmin=2,
                quotechar='"',
            )
        except ValueError as error:
            if place := NO_NUMBER.fullmatch(str(error)):
                raise self._no_number(place[1], int(place[2]), int(place[3]) - 1) from None
            raise DataError(f"{self.path}: expected {KIND}: {error}") from None
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            row, at = np.argwhere(~np.isfinite(found))[0].tolist()
            raise self._no_number(str(found[row, at]), row, columns[at])
        return found

    def _no_number(self, cell: str, row: int, column: int) -> DataError:
        name = repr(self.first[column]) if self.has_header else column
        return DataError(f"{self._at(row + self.has_header)}: expected a finite number in column {name}, got {cell}")

    def _at(self, number: int) -> str:
        return f"{self.path}: line {number + 1} of those that are not empty"
