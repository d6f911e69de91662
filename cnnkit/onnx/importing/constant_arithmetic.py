"""What operators that compute give of constants: sums, comparisons, means; and how much may be computed in advance.

Whole numbers may be sizes that are not known as numbers, `Free`, in arrays of objects: their TypeError says that a
result is not known, either. Source of all: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.attributes import axes_within, called, integer, known_axes
from cnnkit.onnx.importing.foreign_graph import ForeignNode
from cnnkit.onnx.importing.free_sizes import Free
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


def elementwise(compute: Callable[..., Array], least: int, most: int | None) -> Operator:
    """An operator on numbers at the same place of each input; least, most: how many inputs, None for any number."""

    def operator(node: ForeignNode, given: Given, allowance: Allowance) -> list[Array]:
        arrays = [given_array(node, given, at) for at in range(len(given))]
        if len(arrays) < least or (most is not None and len(arrays) > most):
            raise OnnxError(f"{called(node)} has {len(arrays)} inputs")
        kinds = {array.dtype for array in arrays}
        if len(kinds - {np.dtype(np.object_)}) > 1:
            raise OnnxError(f"{called(node)} has inputs of {', '.join(sorted(map(str, kinds)))}; expected one type")
        shape = common_shape(node, [array.shape for array in arrays])
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
        array = given_array(node, given, 0)
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


def given_array(node: ForeignNode, given: Given, at: int) -> Array:
    """An input. Raises OnnxError if it is left out."""
    array = given[at] if at < len(given) else None
    if array is None:
        raise OnnxError(f"{called(node)} lacks its input {at + 1}")
    return array


def common_shape(node: ForeignNode, shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The shape of an elementwise result. Raises OnnxError for shapes that do not fit together."""
    rank = max(map(len, shapes))
    found = []
    for at in range(-rank, 0):
        sizes = {shape[at] for shape in shapes if len(shape) >= -at} - {1}
        if len(sizes) > 1:
            raise OnnxError(f"{called(node)}: shapes {', '.join(map(str, shapes))} do not fit together")
        found.append(sizes.pop() if sizes else 1)
    return tuple(found)


ARITHMETIC: dict[str, Operator] = {
    "Abs": elementwise(np.absolute, 1, 1),
    "Add": elementwise(np.add, 2, 2),
    "And": elementwise(np.logical_and, 2, 2),
    "Ceil": elementwise(np.ceil, 1, 1),
    "Div": elementwise(divide, 2, 2),
    "Equal": elementwise(equal, 2, 2),
    "Exp": elementwise(np.exp, 1, 1),
    "Floor": elementwise(np.floor, 1, 1),
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
    "Reciprocal": elementwise(np.reciprocal, 1, 1),
    "ReduceMax": reduction(np.max),
    "ReduceMean": reduction(np.mean),
    "ReduceMin": reduction(np.min),
    "ReduceProd": reduction(np.prod),
    "ReduceSum": reduction(np.sum),
    "Sqrt": elementwise(np.sqrt, 1, 1),
    "Sub": elementwise(np.subtract, 2, 2),
    "Sum": elementwise(np.add, 1, None),
}
