"""Why branches do not meet: images whose sides a network cannot divide as often as it makes them smaller."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from cnnkit.layers.window import Window
from cnnkit.types import Shape
from cnnkit.wording import sizes

if TYPE_CHECKING:
    from cnnkit.network.graph.node import Node


def uneven_sizes(nodes: Sequence[Node], ends: Sequence[Shape]) -> str:
    """What to do where branches end in images of several sizes, because a side was halved with a remainder.

    7 x 7 become 3 x 3 with a stride of 2, and 6 x 6 if they are made larger again by 2. nodes: those up to the ends of
    the branches; ends: shapes of these. "" where this is not why they differ.
    """
    found = {shape[1:] for shape in ends}
    axes = max(map(len, found), default=0)
    if len(found) < 2 or not axes or min(map(len, found)) < axes:
        return ""
    whole = (Fraction(1),) * axes
    by_node: dict[int, tuple[Fraction, ...]] = {}
    begun: Shape | None = None
    has_remainder = is_enlarged = False
    for node in nodes:
        strides = _strides(node, axes)
        before = by_node.get(node.inputs[0], whole)
        by_node[node.index] = tuple(max(one * stride, Fraction(1)) for one, stride in zip(before, strides, strict=True))
        is_enlarged |= any(stride < 1 < one for one, stride in zip(before, strides, strict=True))
        if any(stride > 1 for stride in strides):
            sides = node.in_shapes[0][1:]
            begun = begun or sides
            has_remainder |= any(side % stride.numerator for side, stride in zip(sides, strides, strict=True))
        elif begun and len(node.out_shape) == 1 + axes and max(node.in_shapes[0][1:]) > max(node.out_shape[1:]):
            return ""  # a border is lost, too
    if not (begun and has_remainder and is_enlarged):
        return ""
    multiples = [math.ceil(max(strides)) for strides in zip(*by_node.values(), strict=True)]
    if not any(side % step for side, step in zip(begun, multiples, strict=True)):
        return ""
    return _advice(begun, multiples, sorted(found, reverse=True))


def _strides(node: Node, axes: int) -> tuple[Fraction, ...]:
    """How many times smaller a layer makes each side, below 1 if larger; 1 where it does not move in strides."""
    before, after = node.in_shapes[0][1:], node.out_shape[1:]
    if not len(before) == len(after) == axes:
        return (Fraction(1),) * axes
    window = getattr(node.layer, "window", None)
    strides = [axis.stride for axis in window.axes] if isinstance(window, Window) else [1] * axes
    return tuple(map(_stride, before, after, strides))


def _stride(before: int, after: int, stride: int) -> Fraction:
    if before > after:
        return Fraction(stride)
    if stride > 1 and before < after:
        return Fraction(1, stride)
    return Fraction(before, after) if after % before == 0 else Fraction(1)


def _advice(begun: Shape, multiples: Sequence[int], found: Sequence[Shape]) -> str:
    lower = tuple(side // step * step for side, step in zip(begun, multiples, strict=True))
    upper = tuple(-(-side // step) * step for side, step in zip(begun, multiples, strict=True))
    fitting = " or ".join(sizes(shape) for shape in (lower, upper) if all(shape))
    steps = " and ".join(map(str, dict.fromkeys(multiples)))
    sides, padded = "the length must be a multiple", ""
    if len(begun) == 2:
        sides, padded = "height and width must be multiples", ", also with Pad2D at the beginning and Crop2D at the end"
    return (
        f"it joins sizes of {' and '.join(map(sizes, found))}, because {sizes(begun)} is made smaller by {steps} in "
        f"all and then larger again: {sides} of {steps}, such as {fitting}; bring the inputs to such a size{padded}, "
        "or make them smaller less often, as by a smaller depth of UNet"
    )
