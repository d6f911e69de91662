"""Where the pixels of an image are, as numbers that layers can see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import true_or_false
from cnnkit.layers.layout import empty_pixels
from cnnkit.layers.window import image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class AddCoordinates(Layer):
    """Two more channels, or three, that say of each pixel where it is.

    Forward:   y[n,c] = x[n,c] for c < C, y[n,C,p,q] = 2 p / (H - 1) - 1, y[n,C+1,p,q] = 2 q / (W - 1) - 1, and with
               radius y[n,C+2,p,q] = root of the sum of the squares of both
    Backward:  dx[n,c] = dy[n,c] for c < C

    x: (N, C, H, W); y: (N, C + 2, H, W), with radius=True (N, C + 3, H, W). Of an axis of one pixel the coordinate is
    0. Before Conv2D(...) it makes a CoordConv of it.
    Raises ConfigError unless radius is True or False, ShapeError for inputs that are not images.
    Source: Liu, Lehman, Molino, Petroski Such, Frank, Sergeev, Yosinski (2018), An Intriguing Failing of Convolutional
    Neural Networks and the CoordConv Solution.
    """

    lesson = (
        "Behind the channels come two more: in one, each pixel has the number of its row, in the other that of its "
        "column, from -1 to 1.",
        "A convolution sees the same everywhere; with these it can tell where it is, and so can attention.",
    )
    examples = (
        Example("AddCoordinates()", (3, 5, 4)),
        Example("AddCoordinates(radius=True)", (2, 4, 7)),
        Example("AddCoordinates(True)", (1, 1, 3)),
        Example("AddCoordinates()", (2, 1, 1)),
    )
    operators = ("Add", "Concat", "Pad", "Slice")

    def __init__(self, radius: bool = False) -> None:
        self.radius = true_or_false("radius", radius)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C + 2, H, W), or (C + 3, H, W)."""
        channels, image = image_shape("AddCoordinates", in_shape)
        return channels + self._added, *image

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Copy the channels, and write the coordinates behind them."""
        samples, channels, *image = x.shape
        y = empty_pixels((samples, channels + self._added, *image), ctx)
        y[:, :channels] = x
        y[:, channels:] = self._coordinates(*image)
        return y, channels

    def backward(self, dy: Array, channels: Cache, ctx: Context) -> tuple[Array, Grads]:
        """A view of dy: nothing can move the coordinates."""
        return dy[:, :channels], {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Concat with zeros, to which the coordinates are added.

        Zeros for as many samples as there are come from a Pad along the channels, cut off again: x times 0 would not be
        0 for what is infinite.
        """
        channels, *image = graph.shape(x)
        padded = graph.add("Pad", x, np.array([0, 0, 0, 0, 0, self._added, 0, 0]))
        zeros = graph.add("Slice", padded, *(np.array([n]) for n in (channels, channels + self._added, 1)))
        return graph.add("Concat", x, graph.add("Add", zeros, self._coordinates(*image)), axis=1)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        coordinates = self._added * math.prod(out_shape[1:])  # in float64, twice as large
        return LayerCost(0, "nothing is computed of the image: its numbers only move", scratch=2 * coordinates)

    @property
    def _added(self) -> int:
        """How many channels are added."""
        return 3 if self.radius else 2

    def _coordinates(self, height: int, width: int) -> Array:
        """(2, H, W) or (3, H, W), float64."""
        rows, columns = (np.arange(1 - length, length, 2) / max(1, length - 1) for length in (height, width))
        both = np.broadcast_arrays(rows[:, None], columns)
        return np.stack([*both, np.hypot(*both)] if self.radius else both)
