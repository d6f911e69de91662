"""Merges with branches: layers make several values of one, and those become one again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers.joins import Add, few_inputs
from cnnkit.types import Array, Cache, Context, Example, LayerCost, OnnxGraph, Shape

Branch = Layer | Merge | list[Layer | Merge]


class Residual(Add):
    """Adds the output of its layers to their input, or to a shortcut of it.

    Forward:   y = body(x) + shortcut(x)
    Backward:  dbody = dshortcut = dy

    body: layers in order; shortcut: a layer or a list of layers, the input itself if None. Both ends: (N, ...) of one
    shape, which is also that of y.
    Raises ConfigError for a body without layers, ShapeError if the two ends differ.
    Source: He, Zhang, Ren, Sun (2016), Deep Residual Learning for Image Recognition.
    """

    lesson = (
        "What the layers of the body computed is added to the shortcut: the value from before the body, or what the "
        "shortcut's own layers make of it.",
        "The body only has to learn what to change, and the gradient gets past it undiminished.",
    )
    examples = (
        Example("Residual(Conv2D(4, 3, padding='same'), ReLU())", (4, 5, 4)),
        Example("Residual(Conv2D(6, 3, 2, 'same'), shortcut=[Conv2D(6, 1, 2), BatchNorm2D()])", (4, 5, 4)),
        Example("Residual(Dense(13), ReLU())", (13,)),
    )
    operators = ("Add",)

    def __init__(self, *body: Layer | Merge, shortcut: Branch | None = None) -> None:
        self.body = body
        self.shortcut = shortcut
        self.branches = [
            _branch("Residual", list(body)),
            _branch("shortcut of Residual", [] if shortcut is None else shortcut),
        ]
        if not body:
            raise ConfigError("Residual expects at least one layer, such as Residual(Conv2D(8, 3)), got none")

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """The shape that both ends must have."""
        body, shortcut = in_shapes
        if body != shortcut:
            fitting = f"Conv2D({body[0]}, 1, ...)" if len(body) == 3 else f"Dense({body[0]})"
            raise ShapeError(
                f"Residual expects the same shape from its body and its shortcut, got {body} from its body and "
                f"{shortcut} from its "
                f'shortcut; keep the size in the body with padding="same", or add shortcut={fitting} that gives {body}'
            )
        return body

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 1, "an addition for each number")


class Concat(Merge):
    """Puts what its branches compute, or the outputs of several nodes of a graph, side by side along the channels.

    Forward:   y[:, first_b : first_b + C_b] = branch_b(x)
    Backward:  each branch gets its own part of dy

    branches: each a layer or a list of layers; the empty list passes x on. None at all for the node of a graph, which
    names what it joins. Ends: (N, C_b, H, W) or (N, F_b); y: (N, sum of C_b, H, W) or (N, sum of F_b).
    Raises ConfigError for a single branch, ShapeError if the ends differ in more than the channels.
    Source: Szegedy et al. (2015), Going Deeper with Convolutions; ONNX operator Concat.
    """

    lesson = (
        "The outputs of the branches are put one behind the other, along the channels; nothing is computed.",
        "Branches look at one input in different ways, and what comes next can use all they found.",
    )
    examples = (
        Example("Concat([], [Conv2D(3, 1), ReLU()], MaxPool2D(3, 1, 1))", (4, 5, 4)),
        Example("Concat([Conv2D(2, 3, padding='same'), Softmax()], [])", (1, 4, 5)),
        Example("Concat(Dense(3), Dense(4))", (13,)),
    )
    operators = ("Concat",)

    def __init__(self, *branches: Branch) -> None:
        self.branches = [_branch("Concat", branch) for branch in branches]
        if len(branches) == 1:
            raise ConfigError(
                "Concat expects two branches or more, such as Concat(Conv2D(8, 1), [Conv2D(4, 1), ReLU()]), got one"
            )

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """The channels of all branches together."""
        if len(in_shapes) < 2:
            raise few_inputs("Concat", in_shapes)
        if len({shape[1:] for shape in in_shapes}) > 1:
            raise ShapeError(
                "Concat expects branches that give shapes equal in all but the channels, got "
                f'{", ".join(map(str, in_shapes))}; use padding="same" and the same strides in every branch'
            )
        return sum(shape[0] for shape in in_shapes), *in_shapes[0][1:]

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """Copy the ends side by side, in the axis order of the first."""
        first, channels = xs[0], [x.shape[1] for x in xs]
        order = sorted(range(first.ndim), key=lambda axis: -first.strides[axis])
        shape = len(first), sum(channels), *first.shape[2:]
        y = ctx.empty(tuple(shape[axis] for axis in order)).transpose(np.argsort(order))
        return np.concatenate(xs, axis=1, out=y), channels

    def backward(self, dy: Array, channels: Cache, ctx: Context) -> Sequence[Array]:
        """Views of dy."""
        return np.split(dy, list(accumulate(channels))[:-1], axis=1)

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """ONNX Concat along the channels."""
        return graph.add("Concat", *xs, axis=1)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: the numbers only move")


def _branch(name: str, given: Any) -> list[Layer | Merge]:
    layers = list(given) if isinstance(given, list | tuple) else [given]
    for layer in layers:
        if not isinstance(layer, Layer | Merge):
            many = f": write {name}(*layers) to give the layers of a list" if isinstance(layer, list | tuple) else ""
            raise ConfigError(
                f"{name} expects layers, such as Conv2D(8, 3), or lists of them, got {shown(layer)}{many}"
            )
    return layers
