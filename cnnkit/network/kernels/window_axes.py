"""What convolution kernels ask of a sliding window along one axis."""

from __future__ import annotations

import functools
from dataclasses import replace

from cnnkit.layers.window import Axis


def phases(axis: Axis) -> list[tuple[slice, slice, Axis]]:
    """The gradient of the input along an axis, as correlations of the gradient of the output, one for each phase.

    Every `stride`-th element of the input, from `phase` on, is met by every `stride`-th element of the kernel alone.
    For each phase: these elements of the input, up to the last that a window meets; those of the kernel, the last one
    first; and the axis of the correlation, whose positions are these elements of the input.
    """
    met = min(axis.length, (axis.positions - 1) * axis.stride + axis.size - axis.before)
    made = []
    for first in range(min(axis.size, axis.stride)):  # of a large stride, most phases meet no element of the kernel
        phase = (first - axis.before) % axis.stride
        count = -(-(met - phase) // axis.stride)
        if count < 1:
            continue
        size = -(-(axis.size - first) // axis.stride)
        before = size - 1 - (phase + axis.before - first) // axis.stride
        turned = slice(first + (size - 1) * axis.stride, None, -axis.stride)
        after = count - 1 + size - before - axis.positions
        made.append((slice(phase, met, axis.stride), turned, Axis(axis.positions, size, 1, 1, before, after)))
    return sorted(made, key=lambda part: part[0].start)


def trimmed(axis: Axis, pool: int) -> Axis:
    """The axis without the positions at its end that fill no pooling window: nobody looks at them."""
    return replace(axis, after=axis.after - axis.positions % pool * axis.stride)


def plain(axis: Axis) -> bool:
    """Whether the windows look at the image alone, without padding."""
    return axis.before <= 0 and axis.after <= 0


def inside(axis: Axis, first: int, count: int, step: int = 1) -> tuple[slice, slice]:
    """Of the places first, first + step, ..., which may lie outside the axis: which are inside, and their pixels."""
    return _inside(axis.length, first, count, step)


@functools.lru_cache(maxsize=4096)
def _inside(length: int, first: int, count: int, step: int) -> tuple[slice, slice]:
    skipped = min(count, -(first // step)) if first < 0 else 0
    kept = max(skipped, min(count, (length - 1 - first) // step + 1))
    start = first + skipped * step
    return slice(skipped, kept), slice(start, start + max(0, (kept - skipped - 1) * step + 1), step)
