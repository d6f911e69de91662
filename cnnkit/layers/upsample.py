"""Upsampling: larger images, such as those on the way up of a network that says something of each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import pair
from cnnkit.components.sums import SHORT
from cnnkit.layers.window import Pair, image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class Upsample2D(Layer):
    """Each pixel becomes a block of equal pixels.

    Forward:   y[n, c, p, q] = x[n, c, floor(p / size), floor(q / size)]
    Backward:  dx = the sum of dy over each block

    x: (N, C, H, W); y: (N, C, H * size, W * size). size: a number or (height, width).
    Raises ConfigError for a size below 1, ShapeError for inputs that are not images.
    Source: Ronneberger, Fischer, Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation; ONNX
    operator Resize, mode nearest.
    """

    lesson = (
        "Every pixel is repeated, so that it fills a block of the larger image; nothing is computed.",
        "Details that pooling removed can be restored from layers that still have them.",
    )
    examples = (
        Example("Upsample2D(2)", (4, 3, 5), "scale_factor=2"),
        Example("Upsample2D((1, 3))", (2, 4, 3), "scale_factor=(1, 3)"),
        Example("Upsample2D(1)", (1, 3, 4), "scale_factor=1"),
    )
    twin = "torch.nn.Upsample"
    operators = ("Resize",)

    def __init__(self, size: int | Pair) -> None:
        self.size = size
        self._rows, self._columns = pair("size", size)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, H * size, W * size)."""
        channels, (height, width) = image_shape("Upsample2D", in_shape)
        return channels, height * self._rows, width * self._columns

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The pixels, each repeated, with the samples as the fastest axis."""
        samples, channels, height, width = x.shape
        y = ctx.empty((height, self._rows, width, self._columns, channels, samples))
        y[...] = x.transpose(2, 3, 1, 0)[:, None, :, None]
        pixels = y.reshape(height * self._rows, width * self._columns, channels, samples)
        return pixels.transpose(3, 2, 0, 1), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Sums in float64 where float32 would lose digits over many pixels."""
        samples, channels, height, width = dy.shape
        shape = height // self._rows, width // self._columns, channels, samples
        many = self._rows * self._columns > SHORT
        sums: Array = np.zeros(shape) if many else ctx.empty(shape)
        pixels = dy.transpose(2, 3, 1, 0)
        for i in range(self._rows):
            for j in range(self._columns):
                part = pixels[i :: self._rows, j :: self._columns]
                if i == j == 0:
                    sums[...] = part
                else:
                    np.add(sums, part, out=sums)
        dx = sums
        if many:
            dx = ctx.empty(shape)
            dx[...] = sums
        return dx.transpose(3, 2, 0, 1), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Resize to the nearest pixel on the upper left."""
        scales = np.array([1, 1, self._rows, self._columns], np.float32)
        place = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return graph.add("Resize", x, "", scales, **place)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: every number is repeated", rounds=self._rows * self._columns)
