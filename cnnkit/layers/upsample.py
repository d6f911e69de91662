"""Upsampling: larger images, such as those on the way up of a network that says something of each pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import one_of, pair
from cnnkit.components.sums import SHORT
from cnnkit.layers.window import Pair, image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

MODES = ("nearest", "bilinear")


class Upsample2D(Layer):
    """Larger images: each pixel becomes a block of equal pixels, or of pixels between it and its neighbours.

    Forward:   nearest: y[n, c, p, q] = x[n, c, floor(p / size), floor(q / size)]
               bilinear: x at the place ((p + 1/2) / size - 1/2, (q + 1/2) / size - 1/2), between the four pixels around
               it; beyond the outermost pixels, these go on
    Backward:  dx = the sum of dy over each block, or of all dy times their shares of the pixel

    x: (N, C, H, W); y: (N, C, H * size, W * size). size: a number or (height, width). mode: "nearest" or "bilinear",
    which is PyTorch's with align_corners=False.
    Raises ConfigError for a size below 1 or another mode, ShapeError for inputs that are not images.
    Source: Ronneberger, Fischer, Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation; ONNX
    operator Resize, modes nearest and linear.
    """

    lesson = (
        "Every pixel fills a block of the larger image, equal throughout or passing over into its neighbours.",
        "Details that pooling removed can be restored from layers that still have them.",
    )
    examples = (
        Example("Upsample2D(2)", (4, 3, 5), "scale_factor=2"),
        Example("Upsample2D((1, 3))", (2, 4, 3), "scale_factor=(1, 3)"),
        Example("Upsample2D(1)", (1, 3, 4), "scale_factor=1"),
        Example("Upsample2D(2, 'bilinear')", (2, 3, 5), "scale_factor=2, mode='bilinear'"),
        Example("Upsample2D((3, 2), 'bilinear')", (3, 4, 3), "scale_factor=(3, 2), mode='bilinear'"),
        Example("Upsample2D((1, 4), 'bilinear')", (2, 1, 1), "scale_factor=(1, 4), mode='bilinear'"),
    )
    twin = "torch.nn.Upsample"
    operators = ("Resize",)

    def __init__(self, size: int | Pair, mode: str = "nearest") -> None:
        self.size = size
        self.mode = one_of("mode", mode, MODES)
        self._rows, self._columns = pair("size", size)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, H * size, W * size)."""
        channels, (height, width) = image_shape("Upsample2D", in_shape)
        return channels, height * self._rows, width * self._columns

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A new image with the samples as the fastest axis."""
        samples, channels, height, width = x.shape
        pixels = x.transpose(2, 3, 1, 0)
        if self.mode == "bilinear":
            lines = ctx.empty((height * self._rows, width, channels, samples))
            _stretch(pixels, lines, self._rows, ctx)
            made = ctx.empty((height * self._rows, width * self._columns, channels, samples))
            _stretch(lines.swapaxes(0, 1), made.swapaxes(0, 1), self._columns, ctx)
            return made.transpose(3, 2, 0, 1), None
        y = ctx.empty((height, self._rows, width, self._columns, channels, samples))
        y[...] = pixels[:, None, :, None]
        return y.reshape(height * self._rows, width * self._columns, channels, samples).transpose(3, 2, 0, 1), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Sums in float64 where float32 would lose digits over many pixels."""
        samples, channels, height, width = dy.shape
        shape = height // self._rows, width // self._columns, channels, samples
        many = self._rows * self._columns > SHORT
        sums: Array = np.zeros(shape) if many else ctx.empty(shape)
        pixels = dy.transpose(2, 3, 1, 0)
        if self.mode == "bilinear":
            lines = np.zeros((height, *shape[1:])) if many else ctx.empty((height, *shape[1:]))
            _shrink(pixels.swapaxes(0, 1), lines.swapaxes(0, 1), self._columns)
            _shrink(lines, sums, self._rows)
        else:
            self._add_up(pixels, sums)
        dx = sums
        if many:
            dx = ctx.empty(shape)
            dx[...] = sums
        return dx.transpose(3, 2, 0, 1), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Resize: to the nearest pixel on the upper left, or between pixels whose centres are half a pixel in."""
        scales = np.array([1, 1, self._rows, self._columns], np.float32)
        place = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if self.mode == "bilinear":
            place = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return graph.add("Resize", x, "", scales, **place)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        if self.mode == "bilinear":
            channels, height, width = in_shapes[0]
            lines = channels * height * self._rows * width
            made = lines + math.prod(out_shape)
            what = f"two products and an addition for each of {made:,} numbers, rows first"
            return LayerCost(3 * made, what, scratch=lines, rounds=self._rows + self._columns, touched=made)
        return LayerCost(0, "nothing is computed: every number is repeated", rounds=self._rows * self._columns)

    def _add_up(self, pixels: Array, sums: Array) -> None:
        """Blocks (H * size, W * size, C, N) to pixels (H, W, C, N)."""
        for i in range(self._rows):
            for j in range(self._columns):
                part = pixels[i :: self._rows, j :: self._columns]
                if i == j == 0:
                    sums[...] = part
                else:
                    np.add(sums, part, out=sums)


def _between(factor: int) -> Iterator[tuple[int, bool, float, float]]:
    """For each pixel of a block along an axis: which one it is, whether it lies behind the centre or on it, and the
    shares of the pixel before its place and of the one behind."""
    for k in range(factor):
        place = (k + 0.5) / factor - 0.5
        yield k, place >= 0, 1 - place % 1, place % 1


def _stretch(x: Array, y: Array, factor: int, ctx: Context) -> None:
    """Fill y, (L * factor, ...), with what lies between the elements of x, (L, ...)."""
    for k, behind, before_share, behind_share in _between(factor):
        part = y[k::factor]
        inner, outer = (part[:-1], part[-1:]) if behind else (part[1:], part[:1])
        outer[...] = x[-1:] if behind else x[:1]
        np.multiply(x[:-1], before_share, out=inner)
        inner += np.multiply(x[1:], behind_share, out=ctx.empty_like(x[1:]))


def _shrink(dy: Array, dx: Array, factor: int) -> None:
    """The gradient of `_stretch`: fill dx, (L, ...), from dy, (L * factor, ...)."""
    dx[...] = 0
    for k, behind, before_share, behind_share in _between(factor):
        part = dy[k::factor]
        inner, outer = (part[:-1], part[-1:]) if behind else (part[1:], part[:1])
        dx[-1:] += outer if behind else 0
        dx[:1] += 0 if behind else outer
        dx[:-1] += inner * before_share
        dx[1:] += inner * behind_share
