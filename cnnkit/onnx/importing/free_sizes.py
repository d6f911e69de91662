"""Sizes that are not numbers: those of an axis that a file leaves free, such as the number of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cnnkit.onnx.importing.foreign_graph import BATCH, Sizes


@dataclass(frozen=True)
class Free:
    """So many times the size of a free axis."""

    name: str
    times: int = 1

    def __mul__(self, factor: object) -> Free:
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
            return NotImplemented
        return Free(self.name, self.times * factor)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: object) -> Free:
        if isinstance(divisor, bool) or not isinstance(divisor, int) or divisor < 1 or self.times % divisor:
            return NotImplemented
        return Free(self.name, self.times // divisor)

    def __str__(self) -> str:
        return self.name if self.times == 1 else f"{self.times}*{self.name}"


Size = int | Free | None
"""A number, a free size, or None for one that is not known."""
SAMPLES = Free(BATCH)


def product(sizes: Iterable[Size]) -> Size:
    """How many numbers there are; None if that is not a number times one free size."""
    total: Size = 1
    for size in sizes:
        if size is None or total is None or (isinstance(size, Free) and isinstance(total, Free)):
            return None
        if 0 in (size, total):
            return 0
        total = size * total
    return total


def samples_in(sizes: Sequence[Size]) -> int | None:
    """How many numbers there are for each sample; None if that is not known."""
    total = product(sizes)
    return total.times if isinstance(total, Free) and total.name == BATCH else None


def named(sizes: Sequence[Size]) -> Sizes:
    """Sizes as a graph keeps them."""
    return tuple("?" if size is None else size if isinstance(size, int) else str(size) for size in sizes)


def of_names(sizes: Sizes) -> tuple[Size, ...]:
    """Sizes as a file declares them."""
    return tuple(size if isinstance(size, int) else None if size == "?" else Free(size) for size in sizes)


def numbers(sizes: Sequence[Size]) -> tuple[int, ...] | None:
    """The sizes if all are numbers."""
    found = tuple(size for size in sizes if isinstance(size, int))
    return found if len(found) == len(sizes) else None


def broadcast(shapes: Sequence[Sequence[Size]]) -> tuple[Size, ...]:
    """The sizes of an elementwise operation's output; None for those that do not follow or do not fit."""
    rank = max(map(len, shapes), default=0)
    return tuple(_together([shape[i - rank] for shape in shapes if len(shape) >= rank - i]) for i in range(rank))


def _together(sizes: Sequence[Size]) -> Size:
    wide = [size for size in sizes if size != 1]
    fixed = next((size for size in wide if isinstance(size, int)), None)
    if not wide:
        return 1
    return wide[0] if all(size == wide[0] for size in wide) else fixed if None in wide else None


def nbytes(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of an array."""
    return math.prod(shape) * itemsize
