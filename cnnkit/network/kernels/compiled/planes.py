"""Where the elements of a kernel meet the planes that compiled loops work on: along an axis, and in both together."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from cnnkit.layers.window import Axis
from cnnkit.types import Array


class Part(NamedTuple):
    """What of an input's gradient meets the same elements of a kernel, along an axis: each stride-th number."""

    first: int
    numbers: int
    elements: slice
    """Of the kernel."""
    offsets: list[int]
    """Where the first number meets the output's gradient, with each of these elements; it may be outside."""


class Planes:
    """The planes of a group's channels: those of an image, as its windows see it.

    Along each axis, all that is met with one remainder of the stride stands side by side, with the padding, so that
    what a tap, an element of the kernel in one channel, meets in them is as contiguous as without strides.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int) -> None:
        lines, down = _seen(rows)
        pixels, across = _seen(columns)
        self.size = len(lines), len(pixels)
        self.are_whole = np.array_equal(lines, range(rows.length)) and np.array_equal(pixels, range(columns.length))
        """Whether they are the image as it is."""
        self._pixels = np.concatenate([lines, pixels])
        self._taps = _taps(channels, self.size, down, across)
        self.taps = len(self._taps)
        self._places: dict[int, Array] = {}

    def places(self, samples: int) -> Array:
        """What their rows and columns are in the image, -1 for padding; then where the taps are."""
        if samples not in self._places:
            self._places[samples] = np.concatenate([self._pixels, self._taps * samples])
        return self._places[samples]


class GradientPlanes:
    """The planes of a group's filters: the gradient of their output, padded, and what of it each part of dx meets."""

    def __init__(self, rows: Axis, columns: Axis, groups: int, filters: int, channels: int) -> None:
        """filters, channels: of a group."""
        down, across = _parts(rows), _parts(columns)
        self.top, below = _margins(down, rows)
        self.left, right = _margins(across, columns)
        self.height, self.width = self.top + rows.positions + below, self.left + columns.positions + right
        self.elements: list[tuple[slice, slice]] = []
        """Of the kernel, for each part."""
        places, described, taken, met = [np.empty(0, np.intp)], [], 0, 0
        for row, column in itertools.product(down, across):
            self.elements.append((row.elements, column.elements))
            lines, pixels = [self.top + at for at in row.offsets], [self.left + at for at in column.offsets]
            of_part = _taps(filters, (self.height, self.width), lines, pixels)
            begin = (row.first * columns.length + column.first) * groups * channels
            steps = rows.stride * columns.length * groups * channels, columns.stride * groups * channels
            weights = taken * groups * channels
            described.append((len(of_part), taken, weights, row.numbers, column.numbers, begin, *steps))
            places.append(of_part)
            taken += len(of_part)
            met += row.numbers * column.numbers
        self.is_all = met == rows.length * columns.length
        """Whether each pixel of the input is met by some window."""
        self._parts = np.array(described, np.intp).reshape(-1)
        self._taps = np.concatenate(places)
        self._places: dict[int, Array] = {}

    def parts(self, samples: int) -> Array:
        """Of each part what `interface.PART` says; then where their taps are."""
        if samples not in self._places:
            self._places[samples] = np.concatenate([self._parts, self._taps * samples])
        return self._places[samples]


def _seen(axis: Axis) -> tuple[Array, list[int]]:
    """What is where along a plane, -1 for padding, and where the kernel's elements meet it first."""
    remainders = sorted({k * axis.dilation % axis.stride for k in range(axis.size)})
    count = axis.positions + (axis.reach - 1) // axis.stride
    places = (np.array(remainders)[:, None] + axis.stride * np.arange(count) - axis.before).reshape(-1)
    places[(places < 0) | (places >= axis.length)] = -1
    starts = [k * axis.dilation for k in range(axis.size)]
    return places.astype(np.intp), [remainders.index(at % axis.stride) * count + at // axis.stride for at in starts]


def _parts(axis: Axis) -> list[Part]:
    """All of them that meet a number of the input."""
    step = axis.stride // math.gcd(axis.stride, axis.dilation)
    made = []
    for element in range(min(axis.size, step)):
        first = (element * axis.dilation - axis.before) % axis.stride
        count = -(-(axis.length - first) // axis.stride)
        met = range(element, axis.size, step)
        offsets = [(first + axis.before - k * axis.dilation) // axis.stride for k in met]
        if count > 0:
            made.append(Part(first, count, slice(element, None, step), offsets))
    return made


def _margins(parts: list[Part], axis: Axis) -> tuple[int, int]:
    """How far the parts look beyond the output's gradient, at both ends."""
    before = max((-min(part.offsets) for part in parts), default=0)
    after = max((part.numbers + max(part.offsets) for part in parts), default=0) - axis.positions
    return max(0, before), max(0, after)


def _taps(channels: int, size: tuple[int, int], down: list[int], across: list[int]) -> Array:
    """(channels * rows * columns,), of a kernel's rows and columns that are there in planes of this size."""
    channel = np.arange(channels)[:, None, None] * size[0]
    taps: Array = (channel + np.array(down)[:, None]) * size[1] + np.array(across)
    return taps.reshape(-1).astype(np.intp)
