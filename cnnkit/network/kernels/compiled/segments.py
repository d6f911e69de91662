"""What a kernel meets of images that are not padded, as runs of places that all meet them with the same elements."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import NamedTuple

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.types import Array

Met = tuple[tuple[int, int], ...]
"""Elements of a kernel, each with how far it is from what the run's first place begins with."""


class Run(NamedTuple):
    """Places along an axis, `step` apart, the first of which begins with `met`, the next `met_step` further on."""

    first: int
    step: int
    length: int
    met: int
    met_step: int
    elements: Met


class Segments:
    """All pixels of an output, or of a gradient, as runs along its lines."""

    def __init__(self, rows: list[Run], columns: list[Run], width: int, met_width: int, size: int) -> None:
        """width: of what is computed; met_width: of what is met; size: of the kernel along a row."""
        segments: list[tuple[int, ...]] = []
        taps: list[tuple[int, int]] = []
        known: dict[tuple[Met, Met], int] = {}
        for row in rows:
            for i in range(row.length):
                line, met = row.first + i * row.step, row.met + i * row.met_step
                for run in columns:
                    key = row.elements, run.elements
                    if key not in known:
                        known[key] = len(taps)
                        taps += [
                            (k * size + j, down * met_width + across)
                            for k, down in row.elements
                            for j, across in run.elements
                        ]
                    place, begin = line * width + run.first, met * met_width + run.met
                    count = len(row.elements) * len(run.elements)
                    segments.append((begin, place, run.met_step, run.step, run.length, known[key], count))
        segments.sort(key=lambda one: one[1] // width)  # line by line
        self.table = np.array(segments, np.intp).reshape(-1)
        """Of each what `interface.SEGMENT` says."""
        self.count = len(segments)
        self._taps = np.array(taps, np.intp).reshape(-1, 2)
        self._scaled: dict[int, Array] = {}

    def taps(self, pixel: int) -> Array:
        """Of each tap its number in the kernel, and its place, where a pixel has so many numbers."""
        if pixel not in self._scaled:
            self._scaled[pixel] = self._taps * np.array([1, pixel])
        return self._scaled[pixel]


def segments_of_output(rows: Axis, columns: Axis) -> Segments:
    """Those of a convolution's output."""
    return Segments(_seen(rows), _seen(columns), columns.positions, columns.length, columns.size)


def segments_of_gradient(rows: Axis, columns: Axis) -> Segments:
    """Those of the gradient of its input, which meets that of its output."""
    return Segments(_seeing(rows), _seeing(columns), columns.length, columns.positions, columns.size)


def _seen(axis: Axis) -> list[Run]:
    """What each position meets."""

    def elements(position: int) -> Met:
        begin = position * axis.stride - axis.before
        starts = ((k, k * axis.dilation) for k in range(axis.size))
        return tuple((k, start) for k, start in starts if 0 <= begin + start < axis.length)

    def run(first: int, length: int, met: Met) -> Run:
        return Run(first, 1, length, first * axis.stride - axis.before, axis.stride, met)

    return _runs(range(axis.positions), elements, run)


def _seeing(axis: Axis) -> list[Run]:
    """What meets each place of the input: with strides, one remainder after another."""
    made = []
    for remainder in range(min(axis.stride, axis.length)):
        ways = [divmod(remainder + axis.before - k * axis.dilation, axis.stride) for k in range(axis.size)]
        offsets = [(k, offset) for k, (offset, rest) in enumerate(ways) if rest == 0]

        def elements(number: int, offsets: list[tuple[int, int]] = offsets) -> Met:
            return tuple((k, offset) for k, offset in offsets if 0 <= number + offset < axis.positions)

        def run(first: int, length: int, met: Met, remainder: int = remainder) -> Run:
            return Run(remainder + first * axis.stride, axis.stride, length, first, 1, met)

        made += _runs(range(-(-(axis.length - remainder) // axis.stride)), elements, run)
    return made


def _runs(numbers: Iterable[int], elements: Callable[[int], Met], run: Callable[[int, int, Met], Run]) -> list[Run]:
    made = []
    for met, group in groupby(numbers, elements):
        places = list(group)
        made.append(run(places[0], len(places), met))
    return made
