"""What operators that move numbers give of constants: one function for each, which checks sizes before it works.

A size that is not known as a number is treated as `constant_arithmetic` says. Source of all:
https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.attributes import (
    axes_within,
    axis_within,
    called,
    integer,
    integers,
    known_axes,
    number,
    text,
    whole_numbers,
)
from cnnkit.onnx.importing.constant_arithmetic import (
    ARITHMETIC,
    Allowance,
    Given,
    Operator,
    common_shape,
    given_array,
)
from cnnkit.onnx.importing.foreign_graph import ForeignNode
from cnnkit.onnx.importing.free_sizes import Free, Size
from cnnkit.onnx.importing.tensors import dtype_of
from cnnkit.types import Array

WHOLE = "int32", "int64"
"""Types in which files count."""


def constant(node: ForeignNode, _given: Given, _: Allowance) -> list[Array]:
    """Constant: the array, number or numbers of its one attribute."""
    if len(node.attributes) != 1:
        raise OnnxError(f"{called(node)} has {len(node.attributes)} attributes; expected one value")
    ((name, value),) = node.attributes.items()
    match name, value:
        case "value", np.ndarray():
            return [value]
        case "value_int", int():
            return [np.array(value, np.int64)]
        case "value_float", float():
            return [np.array(value, np.float32)]
        case "value_ints", list():
            return [np.array(value, np.int64)]
        case "value_floats", list():
            return [np.array(value, np.float32)]
    raise OnnxError(f"{called(node)} has the attribute {name!r:.100}; expected numbers")


def constant_of_shape(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """ConstantOfShape: one number everywhere."""
    shape = _numbers(node, given, 0, "a shape")
    value = node.attributes.get("value", np.zeros(1, np.float32))
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise OnnxError(f"{called(node)}: expected one number as value")
    allowance.take(node, shape, value.itemsize)
    return [np.full(shape, value.reshape(()))]


def range_of(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Range: start, start + delta, ... below limit."""
    arrays = [given_array(node, given, at) for at in range(3)]
    if any(array.size != 1 for array in arrays):
        raise OnnxError(f"{called(node)}: expected three numbers, start, limit and delta")
    start, limit, delta = (array.reshape(()).item() for array in arrays)
    if isinstance(start, Free) or isinstance(limit, Free):
        raise TypeError("a range of a free size")
    if delta == 0 or not all(map(math.isfinite, (start, limit, delta))):
        raise OnnxError(f"{called(node)}: no range goes from {start} to {limit} in steps of {delta}")
    steps = -((start - limit) // delta) if isinstance(delta, int) else math.ceil((limit - start) / delta)
    count = max(0, steps)
    allowance.take(node, (count,), arrays[0].itemsize)
    return [(np.arange(count) * delta + start).astype(arrays[0].dtype)]


def cast(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Cast: the same numbers in another type; sizes stay what they are as whole numbers."""
    array = given_array(node, given, 0)
    dtype = np.dtype(dtype_of(integer(node, "to", 0), called(node)))
    if array.dtype == np.object_:
        if dtype.name not in WHOLE:
            raise TypeError("a free size as another type")
        return [array]
    allowance.take(node, array.shape, dtype.itemsize)
    return [array.astype(dtype)]


def identity(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Identity: the same numbers, which a layer may take for its own."""
    array = given_array(node, given, 0)
    allowance.take(node, array.shape, array.itemsize)
    return [array]


def gather(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Gather: the parts of an axis at some places."""
    array, places = given_array(node, given, 0), given_array(node, given, 1)
    axis = axis_within(node, integer(node, "axis", 0), array.ndim)
    whole_numbers(node, places.ravel(), "places")
    if places.size and not (-array.shape[axis] <= places.min() and places.max() < array.shape[axis]):
        raise OnnxError(f"{called(node)} takes a place that is not in an axis of {array.shape[axis]}")
    shape = (*array.shape[:axis], *places.shape, *array.shape[axis + 1 :])
    allowance.take(node, shape, array.itemsize)
    return [np.asarray(np.take(array, places, axis))]


def concat(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Concat: arrays one after another along an axis."""
    arrays = [given_array(node, given, at) for at in range(len(given))]
    axis = axis_within(node, integer(node, "axis", 1), arrays[0].ndim)
    for array in arrays:
        allowance.take(node, array.shape, array.itemsize)
    return [np.concatenate(arrays, axis)]


def slice_of(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Slice: every n-th part of some axes, between two places."""
    array = given_array(node, given, 0)
    index = [slice(None)] * array.ndim
    for axis, part in slices(node, given, array.shape).items():
        index[axis] = part
    allowance.take(node, array.shape, array.itemsize)
    return [array[tuple(index)]]


def slices(node: ForeignNode, given: Given, shape: Sequence[Size]) -> dict[int, slice]:
    """What a Slice takes of each of its axes. Raises TypeError if that is not known."""
    if len(given) > 1:
        starts, ends = _numbers(node, given, 1, "starts"), _numbers(node, given, 2, "ends")
        axes = _numbers(node, given, 3, "axes") if len(given) > 3 and node.inputs[3] else list(range(len(starts)))
        steps = _numbers(node, given, 4, "steps") if len(given) > 4 and node.inputs[4] else [1] * len(starts)
    else:
        starts, ends = integers(node, "starts") or [], integers(node, "ends") or []
        axes, steps = integers(node, "axes") or list(range(len(starts))), [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise OnnxError(f"{called(node)} has {len(starts)} starts, {len(ends)} ends, {len(axes)} axes")
    if 0 in steps:
        raise OnnxError(f"{called(node)} goes in steps of 0")
    found = {}
    for axis, start, end, step in zip(axes_within(node, axes, len(shape)), starts, ends, steps, strict=True):
        last = None if step < 0 and end <= -(2**31) else end  # down to the first one
        length = shape[axis]
        if step < 0 and isinstance(length, int) and start < -length:
            start = 0  # ONNX begins at the first one, where Python takes nothing
        found[axis] = slice(start, last, step)
    return found


def squeeze(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Squeeze: without axes of one element."""
    array = given_array(node, given, 0)
    axes = known_axes(node, given)
    found = None if axes is None else tuple(axes_within(node, axes, array.ndim))
    if found is not None and any(array.shape[axis] != 1 for axis in found):
        raise OnnxError(f"{called(node)}: cannot leave axes {axes} out of shape {array.shape}; expected axes of size 1")
    return [np.squeeze(array, found)]


def unsqueeze(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Unsqueeze: with further axes of one element."""
    array, axes = given_array(node, given, 0), known_axes(node, given)
    if axes is None:
        raise OnnxError(f"{called(node)} names no axes")
    return [np.expand_dims(array, tuple(axes_within(node, axes, array.ndim + len(axes))))]


def reshape(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Reshape: 0 stands for the axis of the input, -1 for what is left."""
    array = given_array(node, given, 0)
    shape = _numbers(node, given, 1, "a shape") if len(given) > 1 else integers(node, "shape") or []
    if not integer(node, "allowzero", 0):
        shape = [array.shape[at] if not size and at < array.ndim else size for at, size in enumerate(shape)]
    others = math.prod(size for size in shape if size != -1)
    fits = math.prod(shape) == array.size if -1 not in shape else others and array.size % others == 0
    if not fits or min(shape, default=0) < -1 or shape.count(-1) > 1:
        raise OnnxError(f"{called(node)}: shape {shape!s:.200} does not fit a constant of shape {array.shape}")
    return [array.reshape(shape)]


def transpose(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Transpose: the axes in another order, backwards by default."""
    array = given_array(node, given, 0)
    order = permutation(node, array.ndim)
    allowance.take(node, array.shape, array.itemsize)
    return [np.ascontiguousarray(array.transpose(order))]


def permutation(node: ForeignNode, rank: int) -> list[int]:
    """The order of axes that a Transpose gives. Raises OnnxError unless it has each once."""
    order = integers(node, "perm")
    if order is None:
        return list(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        raise OnnxError(f"{called(node)}: {order} is no order of {rank} axes")
    return order


def flatten(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Flatten: two axes, of what is before an axis and of what follows."""
    array = given_array(node, given, 0)
    axis = integer(node, "axis", 1)
    if not -array.ndim <= axis <= array.ndim:
        raise OnnxError(f"{called(node)}: axis {axis} of a value with {array.ndim} axes")
    before = array.shape[: axis if axis >= 0 else axis + array.ndim]
    return [array.reshape(math.prod(before), -1 if array.size else 0)]


def expand(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Expand: repeated along axes of one element."""
    array, shape = given_array(node, given, 0), _numbers(node, given, 1, "a shape")
    found = common_shape(node, [array.shape, shape])
    allowance.take(node, found, array.itemsize)
    return [np.broadcast_to(array, found).copy()]


def tile(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Tile: repeated along each axis."""
    array, repeats = given_array(node, given, 0), _numbers(node, given, 1, "repeats")
    if len(repeats) != array.ndim:
        raise OnnxError(f"{called(node)} repeats {len(repeats)} axes of a value with {array.ndim}")
    allowance.take(node, [n * size for n, size in zip(repeats, array.shape, strict=True)], array.itemsize)
    return [np.tile(array, repeats)]


def pad(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Pad: a number, edges or mirror images around an array."""
    array, mode = given_array(node, given, 0), text(node, "mode", "constant")
    pads = _numbers(node, given, 1, "pads") if len(given) > 1 else integers(node, "pads") or []
    axes = list(range(array.ndim))
    if len(given) > 3 and node.inputs[3]:
        axes = axes_within(node, _numbers(node, given, 3, "axes"), array.ndim)
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0 or mode not in ("constant", "edge", "reflect"):
        raise OnnxError(f"{called(node)}: cannot pad {len(axes)} axes of a constant by {pads!s:.200}, mode {mode!r}")
    around = [(0, 0)] * array.ndim
    for at, axis in enumerate(axes):
        around[axis] = pads[at], pads[at + len(axes)]
    allowance.take(node, [sum(pair) + size for pair, size in zip(around, array.shape, strict=True)], array.itemsize)
    if mode == "constant":
        filled = given[2] if len(given) > 2 and node.inputs[2] else np.array(number(node, "value", 0.0))
        if filled is None or filled.size != 1:
            raise OnnxError(f"{called(node)}: expected one constant number to pad with")
        return [np.pad(array, around, constant_values=filled.reshape(()).astype(array.dtype))]
    if mode == "edge":
        return [np.pad(array, around, mode="edge")]
    return [np.pad(array, around, mode="reflect")]


def split(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Split: parts of an axis."""
    array = given_array(node, given, 0)
    axis = axis_within(node, integer(node, "axis", 0), array.ndim)
    parts = _numbers(node, given, 1, "sizes") if len(given) > 1 and node.inputs[1] else integers(node, "split")
    sizes = split_sizes(node, array.shape[axis], parts)
    allowance.take(node, array.shape, array.itemsize)
    return np.split(array, np.cumsum(sizes)[:-1], axis)


def split_sizes(node: ForeignNode, whole: int, parts: Sequence[int] | None) -> list[int]:
    """How much of an axis each output of a Split has. Raises OnnxError for parts that are not the whole."""
    count = len(node.outputs)
    each = -(-whole // count) if count else 0
    found = [max(0, min(each, whole - each * at)) for at in range(count)] if parts is None else list(parts)
    if len(found) != count or sum(found) != whole or min(found, default=0) < 0:
        raise OnnxError(f"{called(node)}: cannot split an axis of {whole} into {found!s:.200} for {count} outputs")
    return found


def where(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Where: of two arrays, what a third one chooses."""
    arrays = [given_array(node, given, at) for at in range(3)]
    itemsize = max(array.itemsize for array in arrays[1:])
    allowance.take(node, common_shape(node, [array.shape for array in arrays]), itemsize)
    return [np.where(*arrays)]


def _numbers(node: ForeignNode, given: Given, at: int, what: str) -> list[int]:
    array = given_array(node, given, at)
    if array.dtype == np.object_:
        raise TypeError(f"free sizes as {what}")
    return whole_numbers(node, array, what)


OPERATORS: dict[str, Operator] = {
    **ARITHMETIC,
    "Cast": cast,
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Identity": identity,
    "Pad": pad,
    "Range": range_of,
    "Reshape": reshape,
    "Slice": slice_of,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Where": where,
}
