"""Counting: how many operations a node needs for one sample, and what is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from cnnkit.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Residual,
    Softmax,
)
from cnnkit.network.node import Node


@dataclass(frozen=True)
class Operations:
    """The operations of a forward pass in prediction mode, for one sample."""

    count: int
    what: str
    """What is counted, in words."""


def multiply_adds(node: Node) -> int | None:
    """weights * the places where each of them is used; None unless it is Conv2D or Dense."""
    layer = node.layer
    if type(layer) is Conv2D or type(layer) is Dense:
        return layer.params["weight"].size * math.prod(node.out_shape[1:])
    return None


def operations(node: Node) -> Operations | None:
    """The count for a layer or merge that comes with cnnkit, None for any other, also for classes derived from them."""
    layer, outputs = node.layer, math.prod(node.out_shape)
    if products := multiply_adds(node):
        return Operations(2 * products, f"{products:,} multiplications, each with an addition")
    kind = type(layer)
    if kind is MaxPool2D or kind is AvgPool2D:
        axes = cast(MaxPool2D | AvgPool2D, layer).window
        window = axes.rows.size * axes.columns.size
        if kind is MaxPool2D:
            return Operations(outputs * (window - 1), f"{window - 1} comparisons for each of {outputs:,} outputs")
        return Operations(outputs * window, f"{window - 1} additions and a division for each of {outputs:,} outputs")
    if kind is Softmax:
        groups = outputs // node.out_shape[0]
        each = "a subtraction, an exponential and a division for each number; comparisons and additions for all but one"
        return Operations(5 * outputs - 2 * groups, each)
    known = _FOR_EACH_OUTPUT.get(kind)
    return known and Operations(known[0] * outputs, known[1])


_FOR_EACH_OUTPUT: dict[type, tuple[int, str]] = {
    ReLU: (1, "a comparison for each number"),
    BatchNorm2D: (4, "a subtraction, two multiplications and an addition for each number"),
    Residual: (1, "an addition for each number"),
    Dropout: (0, "nothing is computed in prediction"),
    Flatten: (0, "nothing is computed: the numbers only get another place"),
    Concat: (0, "nothing is computed: the numbers only get another place"),
}
