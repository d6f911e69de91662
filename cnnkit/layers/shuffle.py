"""Channels that become pixels, pixels that become channels, and channels in another order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import whole
from cnnkit.errors import ShapeError
from cnnkit.layers.layout import empty_pixels
from cnnkit.layers.window import image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class _Shuffle(Layer):
    """Moves between blocks of pixels and channels, the same for both directions."""

    def __init__(self, factor: int) -> None:
        self.factor = whole("factor", factor)

    def _enlarged(self, x: Array, ctx: Context) -> Array:
        """(N, C * factor^2, H, W) -> (N, C, H * factor, W * factor)."""
        samples, channels, height, width = x.shape
        f = self.factor
        y = empty_pixels((samples, channels // f**2, height * f, width * f), ctx)
        self._blocks(y)[...] = x.reshape(samples, channels // f**2, f, f, height, width, copy=False)
        return y

    def _reduced(self, x: Array, ctx: Context) -> Array:
        """(N, C, H * factor, W * factor) -> (N, C * factor^2, H, W)."""
        samples, channels, height, width = x.shape
        f = self.factor
        y = empty_pixels((samples, channels * f**2, height // f, width // f), ctx)
        y.reshape(samples, channels, f, f, height // f, width // f, copy=False)[...] = self._blocks(x)
        return y

    def _blocks(self, x: Array) -> Array:
        """(N, C, H * factor, W * factor) -> (N, C, factor, factor, H, W), a view."""
        samples, channels, height, width = x.shape
        f = self.factor
        return x.reshape(samples, channels, height // f, f, width // f, f, copy=False).transpose(0, 1, 3, 5, 2, 4)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: the numbers only move")


class PixelShuffle(_Shuffle):
    """Channels become pixels: those of one place fill a block of the larger image.

    Forward:   y[n, c, h*factor + i, w*factor + j] = x[n, (c*factor + i)*factor + j, h, w]
    Backward:  dx[n, (c*factor + i)*factor + j, h, w] = dy[n, c, h*factor + i, w*factor + j]

    x: (N, C * factor^2, H, W); y: (N, C, H * factor, W * factor).
    Raises ConfigError for a factor below 1, ShapeError for channels that are no multiple of factor^2.
    Source: Shi et al. (2016), Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network; ONNX operator DepthToSpace, mode CRD.
    """

    lesson = (
        "The channels of one place are laid out as a block of pixels; nothing is computed.",
        "A convolution on the small image can so give a large one, each of its filters a part of every block.",
    )
    examples = (
        Example("PixelShuffle(2)", (8, 2, 5), "2"),
        Example("PixelShuffle(3)", (9, 2, 5), "3"),
        Example("PixelShuffle(1)", (2, 3, 4), "1"),
    )
    twin = "torch.nn.PixelShuffle"
    operators = ("DepthToSpace",)
    cost = _Shuffle.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C * factor^2, H, W) -> (C, H * factor, W * factor)."""
        channels, (height, width) = image_shape("PixelShuffle", in_shape)
        if channels % self.factor**2:
            raise ShapeError(
                f"PixelShuffle expects a number of channels that is a multiple of {self.factor**2}, factor * factor, "
                f"got {channels}; change the filters of the layer before it"
            )
        return channels // self.factor**2, height * self.factor, width * self.factor

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A copy with the samples as the fastest axis."""
        return self._enlarged(x, ctx), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The way back."""
        return self._reduced(dy, ctx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX DepthToSpace."""
        return graph.add("DepthToSpace", x, blocksize=self.factor, mode="CRD")


class PixelUnshuffle(_Shuffle):
    """Pixels become channels: a block of the image fills the channels of one place.

    Forward:   y[n, (c*factor + i)*factor + j, h, w] = x[n, c, h*factor + i, w*factor + j]
    Backward:  dx[n, c, h*factor + i, w*factor + j] = dy[n, (c*factor + i)*factor + j, h, w]

    x: (N, C, H * factor, W * factor); y: (N, C * factor^2, H, W).
    Raises ConfigError for a factor below 1, ShapeError for an image whose sides are no multiples of it.
    Source: Shi et al. (2016), Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network, backwards.
    """

    lesson = (
        "A block of pixels is written into the channels of one place; nothing is computed, and nothing lost.",
        "The image becomes smaller, so that what follows is faster, and still sees every pixel.",
    )
    examples = (
        Example("PixelUnshuffle(2)", (2, 6, 4), "2"),
        Example("PixelUnshuffle(3)", (1, 6, 9), "3"),
        Example("PixelUnshuffle(1)", (2, 3, 4), "1"),
    )
    twin = "torch.nn.PixelUnshuffle"
    operators = ("Reshape", "Transpose")
    cost = _Shuffle.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H * factor, W * factor) -> (C * factor^2, H, W)."""
        channels, (height, width) = image_shape("PixelUnshuffle", in_shape)
        if height % self.factor or width % self.factor:
            raise ShapeError(
                f"PixelUnshuffle expects images whose sides are multiples of {self.factor}, got {height} x {width}; "
                "crop or pad them before it"
            )
        return channels * self.factor**2, height // self.factor, width // self.factor

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A copy with the samples as the fastest axis."""
        return self._reduced(x, ctx), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The way back."""
        return self._enlarged(dy, ctx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Reshape and Transpose: SpaceToDepth has the channels in another order."""
        channels, height, width = graph.shape(x)
        f = self.factor
        blocks = graph.add("Reshape", x, np.array([0, channels, height // f, f, width // f, f]))
        moved = graph.add("Transpose", blocks, perm=[0, 1, 3, 5, 2, 4])
        return graph.add("Reshape", moved, np.array([0, channels * f**2, height // f, width // f]))


class ChannelShuffle(Layer):
    """Channels in another order: the first of every group, then the second of every group, and so on.

    Forward:   y[n, k*groups + g] = x[n, g*C/groups + k]
    Backward:  dx[n, g*C/groups + k] = dy[n, k*groups + g]

    x, y: (N, C, H, W), the same shape.
    Raises ConfigError for groups below 1, ShapeError for channels that are no multiple of it.
    Source: Zhang, Zhou, Lin, Sun (2018), ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
    Devices.
    """

    lesson = (
        "The channels change their places, so that neighbours come from different groups; nothing is computed.",
        "Between two convolutions in groups it lets every group of the second see all groups of the first.",
    )
    examples = (
        Example("ChannelShuffle(2)", (6, 3, 5), "2"),
        Example("ChannelShuffle(3)", (6, 2, 5), "3"),
        Example("ChannelShuffle(4)", (4, 3, 3), "4"),
    )
    twin = "torch.nn.ChannelShuffle"
    operators = ("Reshape", "Transpose")

    def __init__(self, groups: int) -> None:
        self.groups = whole("groups", groups)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape."""
        channels, _ = image_shape("ChannelShuffle", in_shape)
        if channels % self.groups:
            raise ShapeError(
                f"ChannelShuffle expects a number of channels that is a multiple of its {self.groups} groups, got "
                f"{channels} channels; change groups, or the filters of the layer before it"
            )
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A copy with the samples as the fastest axis."""
        return self._moved(x, self.groups, ctx), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The way back: as many groups as there were channels in each."""
        return self._moved(dy, dy.shape[1] // self.groups, ctx), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Reshape and Transpose."""
        channels, height, width = graph.shape(x)
        cut = graph.add("Reshape", x, np.array([0, self.groups, channels // self.groups, height, width]))
        moved = graph.add("Transpose", cut, perm=[0, 2, 1, 3, 4])
        return graph.add("Reshape", moved, np.array([0, channels, height, width]))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: the numbers only move")

    @staticmethod
    def _moved(x: Array, groups: int, ctx: Context) -> Array:
        samples, channels, *size = x.shape
        y = empty_pixels(x.shape, ctx)
        cut = x.reshape(samples, groups, channels // groups, *size, copy=False)
        y.reshape(samples, channels // groups, groups, *size, copy=False)[...] = cut.swapaxes(1, 2)
        return y
