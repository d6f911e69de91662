"""What operators give of constants, computed with NumPy: one function for each, which checks sizes before it works.

Whole numbers may be sizes that are not known as numbers, `Free`, in arrays of objects: their TypeError says that a
result is not known, either. Source of all: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

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
from cnnkit.onnx.importing.foreign_graph import ForeignNode
from cnnkit.onnx.importing.free_sizes import Free
from cnnkit.onnx.importing.tensors import dtype_of
from cnnkit.types import Array

Given = Sequence[Array | None]


class Allowance:
    """How many bytes folding may still read and write, so that a small file cannot ask for much memory or time."""

    def __init__(self, most: int) -> None:
        self.most = self._left = most

    def take(self, node: ForeignNode, shape: Sequence[int], itemsize: int) -> None:
        """Take what an array needs. Raises OnnxError if that is more than is left, or has a negative size."""
        if any(size < 0 for size in shape):
            raise OnnxError(f"{called(node)}: the shape ({str(tuple(shape))[1:-1]:.200}) has a negative size")
        needed = math.prod(shape) * itemsize
        if needed > self._left:
            raise OnnxError(
                f"{called(node)} takes {needed:,} bytes to be computed in advance, where {self._left:,} of "
                f"{self.most:,} are left; expected no more of a file of this size"
            )
        self._left -= needed


Operator = Callable[[ForeignNode, Given, Allowance], list[Array]]


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
    arrays = [_array(node, given, at) for at in range(3)]
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
    array = _array(node, given, 0)
    dtype = np.dtype(dtype_of(integer(node, "to", 0), called(node)))
    if array.dtype == np.object_:
        if dtype.name != "int64":
            raise TypeError("a free size as another type")
        return [array]
    allowance.take(node, array.shape, dtype.itemsize)
    return [array.astype(dtype)]


def gather(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Gather: the parts of an axis at some places."""
    array, places = _array(node, given, 0), _array(node, given, 1)
    axis = axis_within(node, integer(node, "axis", 0), array.ndim)
    whole_numbers(node, places.ravel(), "places")
    if places.size and not (-array.shape[axis] <= places.min() and places.max() < array.shape[axis]):
        raise OnnxError(f"{called(node)} takes a place that is not in an axis of {array.shape[axis]}")
    shape = (*array.shape[:axis], *places.shape, *array.shape[axis + 1 :])
    allowance.take(node, shape, array.itemsize)
    return [np.asarray(np.take(array, places, axis))]


def concat(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Concat: arrays one after another along an axis."""
    arrays = [_array(node, given, at) for at in range(len(given))]
    axis = axis_within(node, integer(node, "axis", 1), arrays[0].ndim)
    for array in arrays:
        allowance.take(node, array.shape, array.itemsize)
    return [np.concatenate(arrays, axis)]


def slice_of(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Slice: every n-th part of some axes, between two places."""
    array = _array(node, given, 0)
    index = [slice(None)] * array.ndim
    for axis, part in slices(node, given, array.ndim).items():
        index[axis] = part
    allowance.take(node, array.shape, array.itemsize)
    return [array[tuple(index)]]


def slices(node: ForeignNode, given: Given, rank: int) -> dict[int, slice]:
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
    for axis, start, end, step in zip(axes_within(node, axes, rank), starts, ends, steps, strict=True):
        last = None if step < 0 and end <= -(2**31) else end  # down to the first one
        found[axis] = slice(start, last, step)
    return found


def squeeze(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Squeeze: without axes of one element."""
    array = _array(node, given, 0)
    axes = known_axes(node, given)
    found = None if axes is None else tuple(axes_within(node, axes, array.ndim))
    if found is not None and any(array.shape[axis] != 1 for axis in found):
        raise OnnxError(f"{called(node)}: cannot leave axes {axes} out of shape {array.shape}; expected axes of size 1")
    return [np.squeeze(array, found)]


def unsqueeze(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Unsqueeze: with further axes of one element."""
    array, axes = _array(node, given, 0), known_axes(node, given)
    if axes is None:
        raise OnnxError(f"{called(node)} names no axes")
    return [np.expand_dims(array, tuple(axes_within(node, axes, array.ndim + len(axes))))]


def reshape(node: ForeignNode, given: Given, _: Allowance) -> list[Array]:
    """Reshape: 0 stands for the axis of the input, -1 for what is left."""
    array = _array(node, given, 0)
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
    array = _array(node, given, 0)
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
    array = _array(node, given, 0)
    axis = integer(node, "axis", 1)
    if not -array.ndim <= axis <= array.ndim:
        raise OnnxError(f"{called(node)}: axis {axis} of a value with {array.ndim} axes")
    before = array.shape[: axis if axis >= 0 else axis + array.ndim]
    return [array.reshape(math.prod(before), -1 if array.size else 0)]


def expand(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Expand: repeated along axes of one element."""
    array, shape = _array(node, given, 0), _numbers(node, given, 1, "a shape")
    found = _broadcast(node, [array.shape, shape])
    allowance.take(node, found, array.itemsize)
    return [np.broadcast_to(array, found).copy()]


def tile(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Tile: repeated along each axis."""
    array, repeats = _array(node, given, 0), _numbers(node, given, 1, "repeats")
    if len(repeats) != array.ndim:
        raise OnnxError(f"{called(node)} repeats {len(repeats)} axes of a value with {array.ndim}")
    allowance.take(node, [n * size for n, size in zip(repeats, array.shape, strict=True)], array.itemsize)
    return [np.tile(array, repeats)]


def pad(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
    """Pad: a number, edges or mirror images around an array."""
    array, mode = _array(node, given, 0), text(node, "mode", "constant")
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
    array = _array(node, given, 0)
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
    arrays = [_array(node, given, at) for at in range(3)]
    itemsize = max(array.itemsize for array in arrays[1:])
    allowance.take(node, _broadcast(node, [array.shape for array in arrays]), itemsize)
    return [np.where(*arrays)]


def elementwise(compute: Callable[..., Array], least: int, most: int | None) -> Operator:
    """An operator on numbers at the same place of each input; least, most: how many inputs, None for any number."""

    def operator(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
        arrays = [_array(node, given, at) for at in range(len(given))]
        if len(arrays) < least or (most is not None and len(arrays) > most):
            raise OnnxError(f"{called(node)} has {len(arrays)} inputs")
        kinds = {array.dtype for array in arrays}
        if len(kinds - {np.dtype(np.object_)}) > 1:
            raise OnnxError(f"{called(node)} has inputs of {', '.join(sorted(map(str, kinds)))}; expected one type")
        shape = _broadcast(node, [array.shape for array in arrays])
        for array in arrays:
            allowance.take(node, array.shape, array.itemsize)
        allowance.take(node, shape, arrays[0].itemsize)
        if np.dtype(np.object_) in kinds:
            arrays = [array.astype(np.object_) for array in arrays]  # Python's whole numbers, which know free sizes
        return [np.asarray(compute(*arrays) if most == 1 else functools.reduce(compute, arrays))]

    return operator


def reduction(compute: Callable[..., Array]) -> Operator:
    """An operator that makes one number of those along some axes."""

    def operator(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
        array = _array(node, given, 0)
        axes = known_axes(node, given)
        if not axes and integer(node, "noop_with_empty_axes", 0):
            return [array]
        found = tuple(axes_within(node, axes, array.ndim)) if axes else None
        allowance.take(node, array.shape, array.itemsize)
        result = compute(array, axis=found, keepdims=bool(integer(node, "keepdims", 1)))
        return [np.asarray(result).astype(array.dtype, copy=False)]

    return operator


def divide(a: Array, b: Array) -> Array:
    """Quotients; those of whole numbers without what is left of them, towards zero."""
    if a.dtype.kind == "f":
        return np.divide(a, b)
    if a.dtype == np.object_:
        return np.floor_divide(a, b)
    if not np.all(b):
        raise ZeroDivisionError("division of whole numbers by zero")
    return (np.sign(a) * np.sign(b) * (abs(a) // abs(b))).astype(a.dtype) if a.dtype.kind == "i" else a // b


def equal(a: Array, b: Array) -> Array:
    """Where two are the same; a free size is none below 1, and else nobody knows."""
    if a.dtype != np.object_:
        return np.equal(a, b)

    def same(one: object, other: object) -> bool:
        if one == other:
            return True
        for free, size in ((one, other), (other, one)):
            if isinstance(free, Free) and not (isinstance(size, int) and size < 1):
                raise TypeError("a free size may be this number")
        return False

    return np.asarray(np.frompyfunc(same, 2, 1)(a, b), np.bool_)


def _array(node: ForeignNode, given: Given, at: int) -> Array:
    array = given[at] if at < len(given) else None
    if array is None:
        raise OnnxError(f"{called(node)} lacks its input {at + 1}")
    return array


def _numbers(node: ForeignNode, given: Given, at: int, what: str) -> list[int]:
    array = _array(node, given, at)
    if array.dtype == np.object_:
        raise TypeError(f"free sizes as {what}")
    return whole_numbers(node, array, what)


def _broadcast(node: ForeignNode, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    rank = max(map(len, shapes))
    found = []
    for at in range(-rank, 0):
        sizes = {shape[at] for shape in shapes if len(shape) >= -at} - {1}
        if len(sizes) > 1:
            raise OnnxError(f"{called(node)}: shapes {', '.join(map(str, shapes))} do not fit together")
        found.append(sizes.pop() if sizes else 1)
    return tuple(found)


OPERATORS: dict[str, Operator] = {
    "Abs": elementwise(np.absolute, 1, 1),
    "Add": elementwise(np.add, 2, 2),
    "And": elementwise(np.logical_and, 2, 2),
    "Cast": cast,
    "Ceil": elementwise(np.ceil, 1, 1),
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Div": elementwise(divide, 2, 2),
    "Equal": elementwise(equal, 2, 2),
    "Exp": elementwise(np.exp, 1, 1),
    "Expand": expand,
    "Flatten": flatten,
    "Floor": elementwise(np.floor, 1, 1),
    "Gather": gather,
    "Greater": elementwise(np.greater, 2, 2),
    "GreaterOrEqual": elementwise(np.greater_equal, 2, 2),
    "Less": elementwise(np.less, 2, 2),
    "LessOrEqual": elementwise(np.less_equal, 2, 2),
    "Log": elementwise(np.log, 1, 1),
    "Max": elementwise(np.maximum, 1, None),
    "Min": elementwise(np.minimum, 1, None),
    "Mul": elementwise(np.multiply, 2, 2),
    "Neg": elementwise(np.negative, 1, 1),
    "Not": elementwise(np.logical_not, 1, 1),
    "Or": elementwise(np.logical_or, 2, 2),
    "Pad": pad,
    "Range": range_of,
    "Reciprocal": elementwise(np.reciprocal, 1, 1),
    "ReduceMax": reduction(np.max),
    "ReduceMean": reduction(np.mean),
    "ReduceMin": reduction(np.min),
    "ReduceProd": reduction(np.prod),
    "ReduceSum": reduction(np.sum),
    "Reshape": reshape,
    "Slice": slice_of,
    "Split": split,
    "Sqrt": elementwise(np.sqrt, 1, 1),
    "Squeeze": squeeze,
    "Sub": elementwise(np.subtract, 2, 2),
    "Sum": elementwise(np.add, 1, None),
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Where": where,
}
