"""Sums, products and the like: of two values a join, of a value and constants a layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from cnnkit.components import Merge
from cnnkit.layers import Add, Average, Clip, Maximum, Multiply, Rescale, ScaleShift, Subtract, Upsample2D
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.patterns import AFFINE
from cnnkit.onnx.importing.shapes import same_order
from cnnkit.onnx.importing.step import Step, decimal, one_or_pair
from cnnkit.types import Array

MINUS = np.array([-1], np.float32)


@translates("Add")
def add(step: Step) -> Value:
    """Add, or an offset."""
    if step.is_constant(0) or step.is_constant(1):
        x, numbers = _constant(step)
        return affine(step, x, offset=numbers)
    return _join(step, Add())


@translates("Sub")
def subtract(step: Step) -> Value:
    """Subtract, or an offset, of the negative value where the constant stands first."""
    if step.is_constant(0) or step.is_constant(1):
        x, numbers = _constant(step)
        if step.is_constant(0):
            return affine(step, x, scale=MINUS, offset=numbers)
        return affine(step, x, offset=-numbers)
    return _join(step, Subtract())


@translates("Mul")
def multiply(step: Step) -> Value:
    """Multiply, or a scale."""
    if step.is_constant(0) or step.is_constant(1):
        x, numbers = _constant(step)
        return affine(step, x, scale=numbers)
    return _join(step, Multiply())


@translates("Div")
def divide(step: Step) -> Value:
    """A scale by what constants are divided into 1."""
    if not step.is_constant(1):
        raise UntranslatableError("it divides by a value that is computed; layers multiply, as Multiply does")
    x, numbers = _constant(step)
    if not np.all(numbers):
        raise UntranslatableError("it divides by a constant 0")
    return affine(step, x, scale=(1 / numbers.astype(np.float64)).astype(np.float32))


@translates(AFFINE)
def scale_and_offset(step: Step) -> Value:
    """Both in one layer."""
    x = step.value()
    return affine(step, x, scale=_fitting(step, x, 1), offset=_fitting(step, x, 2))


@translates("Neg")
def negative(step: Step) -> Value:
    """A scale of -1."""
    return affine(step, step.value(), scale=MINUS)


@translates("Abs")
def absolute(step: Step) -> Value:
    """The larger one of a value and its negative."""
    x = step.value()
    return step.add(Maximum(), x, affine(step, x, scale=MINUS))


@translates("Sum", "Mean", "Max", "Min")
def many(step: Step) -> Value:
    """A join of all inputs; a bound where one of two is a number."""
    operator, places = step.node.operator, range(len(step.node.inputs))
    constants = [place for place in places if step.is_constant(place)]
    if operator in ("Max", "Min") and len(constants) == 1 and len(places) == 2:
        bound = step.single(constants[0])
        layer = Clip(min=bound) if operator == "Max" else Clip(max=bound)
        return step.add(layer, step.value(1 - constants[0]))
    if len(places) == 1:
        return step.value()
    if operator == "Min":  # the largest of the negative values, negative
        return step.add(Rescale(-1.0), _join(step, Maximum(), lambda value: step.add(Rescale(-1.0), value)))
    return _join(step, {"Sum": Add, "Mean": Average, "Max": Maximum}[operator]())


def affine(step: Step, x: Value, scale: Array | None = None, offset: Array | None = None) -> Value:
    """x * scale + offset with constants of the sample's axes, or of 1: arguments of a layer, or learned numbers."""
    given = [numbers for numbers in (scale, offset) if numbers is not None]
    if all(numbers.size == 1 for numbers in given):
        single = [decimal(numbers.item()) for numbers in given]
        return step.add(Rescale(*single) if scale is not None else Rescale(offset=single[0]), x)
    shape = np.broadcast_shapes(*(numbers.shape for numbers in given))
    weight = np.ones(shape, np.float32) if scale is None else np.broadcast_to(scale, shape)
    arrays = {
        "weight": weight,
        "bias": np.zeros(shape, np.float32) if offset is None else np.broadcast_to(offset, shape),
    }
    axes = tuple(axis for axis, length in enumerate(shape, 1) if length > 1)
    return step.add(ScaleShift(axes), x, **arrays)


def _constant(step: Step) -> tuple[Value, Array]:
    """The value and the constant, whose axes are those of the value's node, or of length 1."""
    place = 0 if step.is_constant(0) else 1
    x = step.value(1 - place)
    return x, _fitting(step, x, place)


def _fitting(step: Step, x: Value, place: int) -> Array:
    """A constant with the axes of the value's node."""
    numbers = step.weights(place)
    count = len(x.order)
    if numbers.size == 1:
        return numbers.reshape((1,) * count)
    shape = (1,) * (count + 1 - numbers.ndim) + numbers.shape
    fits = len(shape) == count + 1 and shape[0] == 1
    if not fits or any(n not in (1, length) for n, length in zip(shape[1:], x.axes, strict=True)):
        raise UntranslatableError(f"its constant of shape {numbers.shape} does not fit samples of shape {x.axes}")
    return numbers.reshape(shape[1:]).transpose(np.argsort(x.order))


def _join(step: Step, join: Merge, before: Callable[[Value], Value] = lambda value: value) -> Value:
    """The join of all inputs, with as many pixels in each; before: what each goes through."""
    values = same_order(step, [before(step.value(place)) for place in range(len(step.node.inputs))])
    shapes = [value.shape for value in values]
    if len(set(map(len, shapes))) > 1 or any(len({*lengths} - {1}) > 1 for lengths in zip(*shapes, strict=False)):
        raise UntranslatableError(f"it joins samples of shapes {', '.join(str(value.axes) for value in values)}")
    shape = np.broadcast_shapes(*shapes)
    if not isinstance(join, Multiply):
        values = [_as_large(step, value, shape) for value in values]
    return step.add(join, *values)


def _as_large(step: Step, value: Value, shape: tuple[int, ...]) -> Value:
    """A single pixel as an image of equal ones."""
    if value.shape == shape:
        return value
    if len(shape) != 3 or value.shape[0] != shape[0] or math.prod(value.shape[1:]) != 1:
        raise UntranslatableError(f"it joins samples of shape {value.shape} with those of shape {shape}")
    return step.add(Upsample2D(one_or_pair(shape[1:])), value)
