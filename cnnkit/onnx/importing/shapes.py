"""Operators that only move numbers: other shapes, other orders, parts, and what stands side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np

from cnnkit.layers import Concat, Crop2D, Flatten, Pad2D, Slice
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.step import Step
from cnnkit.types import Shape

MOVES_BATCH = "its order of axes moves that of the batch, which is the first one of every layer"


@translates("Identity", "Cast")
def unchanged(step: Step) -> Value:
    """The value itself; `type_of_outputs` refuses a Cast that changes numbers."""
    return step.value()


@translates("Flatten")
def flatten(step: Step) -> Value:
    """Flatten, which keeps the batch axis."""
    x, axis = step.value(), step.integer("axis", 1)
    axis = axis if axis >= 0 else axis + len(x.order) + 1
    if axis < 1 or math.prod(x.axes[: axis - 1]) != 1:
        raise UntranslatableError(
            f"it cuts at axis {axis}, so that the samples mix; Flatten cuts behind the batch axis"
        )
    return flat(step, x)


def flat(step: Step, x: Value) -> Value:
    """The numbers of a sample as one vector."""
    if len(x.shape) == 1:
        return x
    if sum(length > 1 for length in x.shape) > 1:  # of (C, 1, 1), all orders are one
        x = step.draft.plain(step.name, x)
    return step.add(Flatten(), x)


@translates("Reshape")
def reshape(step: Step) -> Value:
    """Reshape inside of each sample; the first length is the batch's, whatever the file says of it."""
    x, target = step.value(), step.integers(1, "shape")
    if not target:
        raise UntranslatableError("it makes a single number of the batch")
    if not step.integer("allowzero", 0):
        lengths = (0, *x.axes)
        target = [lengths[place] if n == 0 and place < len(lengths) else n for place, n in enumerate(target)]
    shape, size = target[1:], math.prod(x.axes)
    if -1 in shape:
        known = math.prod(n for n in shape if n != -1)
        shape = [size // known if n == -1 and known > 0 else n for n in shape]
    if not shape or math.prod(shape) != size:
        raise UntranslatableError(
            f"it makes {tuple(target)} of samples of shape {x.axes}, so that they mix; the first axis must stay theirs"
        )
    return in_shape(step, x, tuple(shape))


def in_shape(step: Step, x: Value, shape: Shape) -> Value:
    """The numbers of each sample in this shape, in the file's order."""
    if shape == x.axes:
        return x
    if len(shape) == 1:
        return flat(step, x)
    if step.channels_last and len(shape) in (2, 3) and math.prod(shape[:-1]) == 1:
        y = step.reshaped(x, (shape[-1], *shape[:-1]))  # one pixel, of which the last axis has the channels
        return Value(y.node, y.shape, (*range(1, len(shape)), 0))
    return step.reshaped(x, shape)


@translates("Squeeze")
def squeeze(step: Step) -> Value:
    """Without axes of length 1, all of the sample if it names none; an empty list names no axis, as ONNX defines it."""
    x, axes = step.value(), step.integers(1, "axes")
    count = len(x.order) + 1
    if axes is None:
        axes = [n for n, length in enumerate(x.axes, 1) if length == 1]
    gone = {axis % count for axis in axes}
    if 0 in gone:
        raise UntranslatableError("it removes the batch axis")
    shape = tuple(length for n, length in enumerate(x.axes, 1) if n not in gone)
    if math.prod(shape) != math.prod(x.axes):
        raise UntranslatableError(f"it removes the axes {sorted(gone)} of samples of shape {x.axes}")
    if not shape:
        raise UntranslatableError("it leaves a single number of each sample without an axis; a layer gives vectors")
    if len(shape) == 1:
        return flat(step, x)
    kept = [axis for n, axis in enumerate(x.order, 1) if n not in gone]  # of the node, in the file's order
    y = step.reshaped(x.as_node(), tuple(x.shape[axis] for axis in sorted(kept)))
    return Value(y.node, y.shape, tuple(sorted(kept).index(axis) for axis in kept))


@translates("Unsqueeze")
def unsqueeze(step: Step) -> Value:
    """With more axes of length 1."""
    x, axes = step.value(), step.integers(1, "axes") or []
    count = len(x.order) + 1 + len(axes)
    new = {axis % count for axis in axes}
    if 0 in new:
        raise UntranslatableError("it adds an axis before that of the batch")
    kept = [n for n in range(1, count) if n not in new]
    shape, order = list(x.shape), dict(zip(kept, x.order, strict=True))
    for n in sorted(new, reverse=True):  # a new axis comes before that of the node which follows it in the file
        place = order.get(n + 1, len(shape))
        order = {at: axis + (axis >= place) for at, axis in order.items()} | {n: place}
        shape.insert(place, 1)
    y = step.reshaped(x.as_node(), tuple(shape))
    return Value(y.node, y.shape, tuple(order[n] for n in range(1, count)))


@translates("Transpose")
def transpose(step: Step) -> Value:
    """Another order of axes, which the next layer may not even notice."""
    x = step.value()
    order = step.numbers("perm", list(range(len(x.order), -1, -1)))
    if not order or order[0] != 0 or len(order) != len(x.order) + 1:
        raise UntranslatableError(MOVES_BATCH)
    return Value(x.node, x.shape, tuple(x.axis(axis) for axis in order[1:]))


@translates("Concat")
def concat(step: Step) -> Value:
    """Side by side along one axis, that of the channels of a Concat."""
    values = same_order(step, [step.value(place) for place in range(len(step.node.inputs))])
    if len(values) == 1:
        return values[0]
    axis = step.integer("axis", 1)
    return step.add(Concat(), *(step.with_channels(value, axis) for value in values))


def same_order(step: Step, values: Sequence[Value]) -> list[Value]:
    """The values with one order of axes."""
    if len({value.order for value in values}) > 1:
        return [step.draft.plain(step.name, value) for value in values]
    return list(values)


@translates("Slice")
def slices(step: Step) -> Value:
    """A Slice for each axis that is cut."""
    starts, ends = step.integers(1, "starts") or [], step.integers(2, "ends") or []
    axes = step.integers(3, "axes")
    steps = step.integers(4, "steps") or [1] * len(starts)
    y = step.value()
    for axis, start, end, every in zip(range(len(starts)) if axes is None else axes, starts, ends, steps, strict=True):
        if axis % (len(y.order) + 1) == 0 and start == 0 and end >= 2**31 - 1 and every == 1:
            continue
        y = part(step, y, axis, start, end, every)
    return y


def part(step: Step, x: Value, axis: int, start: int, end: int, every: int = 1) -> Value:
    """A Slice along the file's axis; nothing where all of it stays."""
    along = x.axis(axis)
    length = x.shape[along]
    if every < 1:
        raise UntranslatableError(f"it takes an axis backwards, with step {every}; Slice goes forward")
    first, stop, _ = slice(start, end, every).indices(length)
    if (first, stop, every) == (0, length, 1):
        return x
    return step.add(Slice(first, None if stop == length else stop, along + 1, every), x)


@translates("Split")
def split(step: Step) -> list[Value]:
    """A Slice for each output."""
    x, axis = step.value(), step.integer("axis", 0)
    length, count = x.shape[x.axis(axis)], len(step.node.outputs)
    sizes = step.integers(1, "split")
    if not sizes:
        each = -(-length // count)
        sizes = [min(each, length - each * n) for n in range(count)]
    ends = np.cumsum(sizes).tolist()
    return [part(step, x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


@translates("Gather")
def gather(step: Step) -> Value:
    """A Slice, where the places are evenly spaced."""
    x, places = step.value(), step.constant(1)
    if places is None or not places.size:
        raise UntranslatableError("it takes no places")
    axis = step.integer("axis", 0)
    length = x.shape[x.axis(axis)]
    found = [int(place) % length for place in places.reshape(-1)]
    apart = {after - before for before, after in pairwise(found)} or {1}
    if len(apart) > 1 or min(apart) < 1 or places.ndim > 1:
        raise UntranslatableError("it takes places that are not evenly spaced; Slice does")
    y = part(step, x, axis, found[0], found[-1] + 1, apart.pop())
    if places.ndim:
        return y
    along = axis % (len(x.order) + 1)
    shape = tuple(n for place, n in enumerate(y.axes, 1) if place != along)
    if not shape:
        raise UntranslatableError("it leaves a single number of each sample without an axis; a layer gives vectors")
    return in_shape(step, y, shape)


@translates("Pad")
def pad(step: Step) -> Value:
    """Pad2D, or Crop2D for less than nothing, wherever the axes are in the network; of signals on images."""
    given, pads = step.value(), step.integers(1, "pads") or []
    mode, count = step.text("mode", "constant"), len(given.shape) + 1
    axes = step.integers(3, "axes") if step.has(3) else list(range(count))
    edges = {axis % count: (0, 0) for axis in range(count)}
    for place, axis in enumerate(axes or []):
        edges[axis % count] = pads[place], pads[place + len(pads) // 2]
    if not any(map(any, edges.values())):
        return given
    still = [axis for axis in range(1, count) if not any(edges[axis])]
    if count not in (3, 4) or any(edges[0]) or not still:
        raise UntranslatableError(f"it pads other axes than those of images and signals, by {list(edges.values())}")
    if mode not in ("constant", "reflect", "edge"):
        raise UntranslatableError(f"it has the mode {mode!r}; Pad2D has constant, reflect and edge")
    filling = step.single(2)
    value = step.number("value", 0.0) if filling is None else filling
    channels = next((axis for axis in still if given.axis(axis) == 0), still[-1])
    x = step.with_channels(given, channels)  # an axis that is not padded is that of the channels
    spatial = [edges[x.order.index(axis) + 1] for axis in range(1, count - 1)]
    plain = x.as_node()
    image = plain if count == 4 else step.as_image(plain)
    around = cast("tuple[tuple[int, int], tuple[int, int]]", tuple(([(0, 0)] if count == 3 else []) + spatial))
    less = tuple((max(0, -before), max(0, -after)) for before, after in around)
    more = tuple((max(0, before), max(0, after)) for before, after in around)
    if any(map(any, more)):
        image = step.add(Pad2D((more[0], more[1]), mode, value), image)
    if any(map(any, less)):
        image = step.add(Crop2D((less[0], less[1])), image)
    y = image if count == 4 else step.as_signal(image)
    return Value(y.node, y.shape, x.order)
